_base_ = 'mobilenetv2_avgpool_quickstart.py'

model = dict(
    neck=dict(
        type='ConvLSTMNeck',
        in_channels=8,
        hidden_channels=24,
        kernel_size=3,
        padding='same',
        return_mode='mean',
    ),
    cls_head=dict(in_channels=24),
)
