# MobileNetV2 with ImageNet weights, its first three stages frozen.
_base_ = '../recognizer.py'

weights_help = (
    'fix: put ImageNet weights of MobileNetV2 1.0, with the parameter names of MMAction2 and for '
    'RGB in [-1, 1], at checkpoints/mobilenet_v2_imagenet.pth; to train from scratch: '
    '--cfg-options model.backbone.backbone.init_cfg=None model.backbone.backbone.frozen_stages=-1'
)

__channels = 1280
model = dict(
    backbone=dict(
        backbone=dict(
            type='MobileNetV2',
            frozen_stages=3,
            norm_eval=True,
            norm_cfg=dict(type='BN'),
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v2_imagenet.pth'),
        )
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
