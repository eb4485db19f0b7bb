# No recurrence: the head averages over frames.
_base_ = './mobilenet_lstm.py'

model = dict(neck=None, cls_head=dict(in_channels=1024))
