# The same backbone and budget; the head averages over frames.
_base_ = 'mobilenet_convlstm_quickstart.py'

model = dict(neck=None, cls_head=dict(in_channels=64))
