# Depthwise, then 1x1 in place of the gates' full convolutions.
_base_ = 'mobilenetv2_convlstm_ucf101_mini10.py'

model = dict(neck=dict(gate_conv='depthwise'))
