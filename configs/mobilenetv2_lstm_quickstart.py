_base_ = 'mobilenetv2_avgpool_quickstart.py'

model = dict(
    neck=dict(
        type='LSTMPoolingNeck',
        in_channels=8,
        hidden_channels=64,
        spatial_pool='flatten',
        spatial_size=6,
        temporal_pool='mean',
    ),
    cls_head=dict(in_channels=64),
)
