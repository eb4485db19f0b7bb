_base_ = './mobilenetv2_convlstm.py'

model = dict(
    neck=dict(
        _delete_=True,
        type='LSTMPoolingNeck',
        in_channels=1280,
        hidden_channels=256,
        temporal_pool='mean',
    )
)
