# 1280 to 256 channels first; depthwise, then 1x1 in place of the gates' full
# convolutions; with twice the hidden channels still less work.
_base_ = 'mobilenetv2_convlstm_ucf101_mini10.py'

model = dict(
    neck=dict(
        reduce_channels=256, hidden_channels=256, gate_conv='depthwise'),
    cls_head=dict(in_channels=256))
