# MobileNetV2, a quarter as wide, up to stride 8, from scratch.
_base_ = '../recognizer.py'

__channels = 8
model = dict(
    backbone=dict(
        drop_unused=True,
        init_from_seed=True,
        backbone=dict(
            type='MobileNetV2', widen_factor=0.25, out_indices=(2,), norm_cfg=dict(type='BN')
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
