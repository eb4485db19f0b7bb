# The seed: ConvLSTM with 'valid' padding, 7x7 to 5x5; Flatten, Dense 256, softmax.
_base_ = 'convlstm.py'

neck_part = dict(
    neck=dict(padding='valid'),
    cls_head=dict(type='FlattenHead', spatial_size=(5, 5), hidden_channels=256),
)
