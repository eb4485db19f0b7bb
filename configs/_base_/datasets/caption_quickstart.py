# The built-in caption data: 8 frames of 64x64. At 32x32 the corners are lost that tell a square from
# a circle. OpenCV opens clips this short in a third of decord's time.
data_root = 'data/caption_quickstart'
data_help = (
    'fix: make the built-in caption data in data/caption_quickstart, which takes a minute: '
    'cnnlstm-mm prepare caption-quickstart'
)

recipe_part = dict(
    type='VideoCaptioner',
    cls_head=dict(
        _delete_=True,
        type='CaptionHead',
        vocabulary=f'{data_root}/vocabulary.json',
        embed_channels=256,
        hidden_channels=128,
        attention_channels=64,
        attend='time',
        max_words=14,
        dropout_ratio=0.0,
        # Learns faster than without: docs/captions.md.
        label_smooth_eps=0.1,
    ),
)

# No flip: it turns left into right, and the captions with it.
train_pipeline = [
    dict(type='DecordInit'),
    dict(
        type='SampleFrames',
        clip_len=8,
        frame_interval=1,
        num_clips=1,
        out_of_bound_opt='repeat_last',
    ),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='DecordInit'),
    dict(
        type='SampleFrames',
        clip_len=8,
        frame_interval=1,
        num_clips=1,
        out_of_bound_opt='repeat_last',
        test_mode=True,
    ),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(64, 64), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = val_pipeline

# The list goes scene by scene, so that a batch has its scenes in most of their orders: the gradient
# sees the order apart from the scenes' looks.
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionDataset',
        decoder='opencv',
        ann_file=f'{data_root}/captions_train.jsonl',
        data_prefix=dict(video=f'{data_root}/videos'),
        pipeline=train_pipeline,
    ),
)
# New clips of colours, shapes and orders that were trained on together ...
val_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionDataset',
        decoder='opencv',
        ann_file=f'{data_root}/captions_val.jsonl',
        data_prefix=dict(video=f'{data_root}/videos'),
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
# ... and combinations that were not.
test_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CaptionDataset',
        decoder='opencv',
        ann_file=f'{data_root}/captions_heldout.jsonl',
        data_prefix=dict(video=f'{data_root}/videos'),
        pipeline=val_pipeline,
        test_mode=True,
    ),
)

val_evaluator = dict(type='CaptionMetric', meteor=False)
test_evaluator = val_evaluator
