# A small MobileNet at stride 8 and a ConvLSTM, from scratch in minutes.
_base_ = ['_base_/datasets/quickstart.py', '_base_/default_runtime.py']

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeDistributed',
        backbone=dict(
            type='MobileNetV1',
            widen_factor=0.25,
            out_indices=(4, ),
            norm_cfg=dict(type='BN'))),
    neck=dict(
        type='ConvLSTMNeck',
        in_channels=64,
        hidden_channels=24,
        kernel_size=3,
        padding='same',
        return_mode='mean'),
    cls_head=dict(
        type='I3DHead',
        num_classes=8,
        in_channels=24,
        dropout_ratio=0,
        average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW'))

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        begin=1,
        end=5,
        eta_min=1e-5,
        convert_to_iter_based=True)
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=1e-2),
    # h lies in (-1, 1): the classifier needs large weights, and soon.
    paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=10))),
    clip_grad=dict(max_norm=5, norm_type=2))
auto_scale_lr = dict(enable=False, base_batch_size=16)
