# An LSTM over the 6x8 positions of a small frame; its last output.
neck_part = dict(
    neck=dict(
        type='LSTMPoolingNeck',
        hidden_channels=128,
        spatial_pool='flatten',
        spatial_size=(6, 8),
        dense_channels=128,
        temporal_pool='last',
    ),
    cls_head=dict(in_channels=128),
)
