# One vector a frame through an LSTM; the mean of its outputs.
neck_part = dict(
    neck=dict(type='LSTMPoolingNeck', hidden_channels=256, temporal_pool='mean'),
    cls_head=dict(in_channels=256),
)
