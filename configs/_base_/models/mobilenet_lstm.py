# The CNN-LSTM beside the seed: one vector a frame through an LSTM.
_base_ = './mobilenet_convlstm.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='LSTMPoolingNeck',
        in_channels=1024,
        hidden_channels=256,
        temporal_pool='last',
    ),
    cls_head=dict(
        _delete_=True,
        type='I3DHead',
        num_classes=101,
        in_channels=256,
        dropout_ratio=0.5,
        average_clips='prob',
    ),
)
