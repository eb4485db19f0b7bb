_base_ = './mobilenet_lstm.py'

weights_help = 'To train from scratch: --cfg-options model.backbone.backbone.init_cfg=None'

model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='MobileNetV2',
            init_cfg=dict(type='Pretrained', checkpoint='mmcls://mobilenet_v2'),
        )
    ),
    neck=dict(
        _delete_=True,
        type='ConvLSTMNeck',
        in_channels=1280,
        hidden_channels=256,
        kernel_size=3,
        padding='same',
        return_mode='last',
    ),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
)
