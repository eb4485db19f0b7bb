# Depthwise, then 1x1 in place of the gates' full convolutions; with twice the
# hidden channels still less work.
_base_ = 'mobilenetv2_convlstm_quickstart.py'

model = dict(neck=dict(hidden_channels=48, gate_conv='depthwise'), cls_head=dict(in_channels=48))
