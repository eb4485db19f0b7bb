# MobileNetV2 with ImageNet weights.
_base_ = '../recognizer.py'

weights_help = 'fix: train from scratch with --cfg-options model.backbone.backbone.init_cfg=None'

__channels = 1280
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='MobileNetV2', init_cfg=dict(type='Pretrained', checkpoint='mmcls://mobilenet_v2')
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
)
