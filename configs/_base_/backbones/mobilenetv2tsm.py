# MobileNetV2 with temporal shift: an eighth of the channels moves to the frame before, an eighth to
# the frame after. For clips of 8 frames.
_base_ = '../recognizer.py'

__channels = 1280
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='MobileNetV2TSM', num_segments=8, shift_div=8, pretrained='mmcls://mobilenet_v2'
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
)
