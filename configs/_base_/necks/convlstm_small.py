# The same with 32 channels, for small frames.
_base_ = 'convlstm.py'

neck_part = dict(neck=dict(hidden_channels=32), cls_head=dict(in_channels=32))
