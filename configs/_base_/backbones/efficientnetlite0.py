# EfficientNet-Lite0 with ImageNet weights: ReLU6 and no squeeze-and-excitation, made for int8.
_base_ = '../recognizer.py'

__channels = 1280
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='mmpretrain.TIMMBackbone', model_name='tf_efficientnet_lite0', pretrained=True
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
