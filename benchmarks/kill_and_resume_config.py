# A training of a few seconds that draws random numbers wherever possible: shuffling,
# cropping, flipping and colours in two workers, dropout and carried states in
# the model. It also has batch norm, an average of the weights (EMA), a
# schedule, validation, and a checkpoint every few iterations.
_base_ = [
    '../configs/_base_/backbones/mobilenet_025.py',
    '../configs/_base_/necks/convlstm.py',
    '../configs/_base_/datasets/quickstart.py',
    '../configs/_base_/default_runtime.py',
]

model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(
        backbone=dict(backbone=dict(out_indices=(2,))),
        neck=dict(
            in_channels=32,
            hidden_channels=8,
            return_mode='sequence',
            tbptt_len=2,
            carry_prob=0.5,
            dropout=0.2,
            recurrent_dropout=0.2,
        ),
        cls_head=dict(type='PerStepHead', in_channels=8, clip_len=2, dropout_ratio=0.5),
    )
)

data_root = 'data/kill_and_resume'
data_help = 'fix: python tools/data/make_quickstart.py --out data/kill_and_resume'
train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=6, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='RandomResizedCrop', area_range=(0.5, 1.0)),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='ColorJitter'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = test_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=6, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
train_dataloader = dict(
    batch_size=4,
    sampler=dict(shuffle=True),
    dataset=dict(
        ann_file=f'{data_root}/quickstart_train_split_1_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = test_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(
        ann_file=f'{data_root}/quickstart_val_split_1_videos.txt',
        data_prefix=dict(video=f'{data_root}/videos'),
        pipeline=val_pipeline,
    ),
)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
    dict(type='StepLR', step_size=2, gamma=0.7),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
    accumulative_counts=2,
    clip_grad=dict(max_norm=5, norm_type=2),
)
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(by_epoch=False, interval=5, max_keep_ckpts=2)
)
custom_hooks = [dict(type='EMAHook', momentum=0.05)]
