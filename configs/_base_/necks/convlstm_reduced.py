# 128 channels before and in the ConvLSTM.
_base_ = 'convlstm.py'

neck_part = dict(
    neck=dict(reduce_channels=128, hidden_channels=128), cls_head=dict(in_channels=128)
)
