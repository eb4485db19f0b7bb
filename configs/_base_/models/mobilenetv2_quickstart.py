# A narrow MobileNetV2 up to stride 8, from scratch, averaged over frames: what
# the equal-budget comparison on the built-in data has in common.
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeDistributed',
        drop_unused=True,
        init_from_seed=True,
        backbone=dict(
            type='MobileNetV2', widen_factor=0.25, out_indices=(2,), norm_cfg=dict(type='BN')
        ),
    ),
    cls_head=dict(
        type='I3DHead', num_classes=8, in_channels=8, dropout_ratio=0, average_clips='prob'
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
