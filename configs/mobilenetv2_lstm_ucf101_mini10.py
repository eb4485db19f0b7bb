_base_ = 'mobilenetv2_avgpool_ucf101_mini10.py'

model = dict(
    neck=dict(
        type='LSTMPoolingNeck',
        in_channels=1280,
        hidden_channels=256,
        temporal_pool='mean'),
    cls_head=dict(in_channels=256))
