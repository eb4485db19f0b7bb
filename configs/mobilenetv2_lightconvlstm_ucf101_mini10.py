# Depthwise, then 1x1 in place of the gates' full convolutions; these learn
# slower and take the full rate.
_base_ = 'mobilenetv2_convlstm_ucf101_mini10.py'

model = dict(neck=dict(gate_conv='depthwise'))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=1))))
