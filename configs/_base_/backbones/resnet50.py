# ResNet-50 with ImageNet weights.
_base_ = '../recognizer.py'

__channels = 2048
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='ResNet',
            depth=50,
            pretrained='https://download.pytorch.org/models/resnet50-11ad3fa6.pth',
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
)
