# MobileNet v1, a quarter as wide, up to stride 8, from scratch.
_base_ = '../recognizer.py'

__channels = 64
model = dict(
    backbone=dict(
        backbone=dict(
            type='MobileNetV1', widen_factor=0.25, out_indices=(4,), norm_cfg=dict(type='BN')
        )
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
