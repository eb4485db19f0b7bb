# No recurrence: the head averages over frames.
_base_ = './mobilenetv2_lstm.py'

model = dict(neck=None, cls_head=dict(in_channels=1280))
