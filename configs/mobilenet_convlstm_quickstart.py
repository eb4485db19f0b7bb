# A small MobileNet at stride 8 and a ConvLSTM, from scratch in minutes.
_base_ = [
    '_base_/datasets/quickstart.py',
    '_base_/schedules/adamw_5e.py',
    '_base_/default_runtime.py',
]

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeDistributed',
        backbone=dict(
            type='MobileNetV1', widen_factor=0.25, out_indices=(4,), norm_cfg=dict(type='BN')
        ),
    ),
    neck=dict(
        type='ConvLSTMNeck',
        in_channels=64,
        hidden_channels=24,
        kernel_size=3,
        padding='same',
        return_mode='mean',
    ),
    cls_head=dict(
        type='I3DHead', num_classes=8, in_channels=24, dropout_ratio=0, average_clips='prob'
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
