# 28 frames spread over a video, 224x224, and captions of at most 30 words, as in SA-LSTM; no flip,
# which would turn left into right.
recipe_part = dict(
    type='VideoCaptioner',
    backbone=dict(frozen=True),
    neck=dict(temporal_pool='sequence'),
    cls_head=dict(
        _delete_=True,
        type='CaptionHead',
        in_channels=256,
        embed_channels=468,
        hidden_channels=512,
        attention_channels=256,
        attend='time',
        max_words=30,
        dropout_ratio=0.5,
        beam_width=5,
    ),
)

train_pipeline = [
    dict(type='DecordInit'),
    dict(type='UniformSample', clip_len=28, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    *train_pipeline[:-1],
    dict(type='PackActionInputs', meta_keys=('img_shape', 'filename')),
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=200,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset', dataset=dict(type='CaptionDataset', pipeline=train_pipeline)
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CaptionDataset', pipeline=val_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CaptionDataset', pipeline=val_pipeline, test_mode=True),
)

val_evaluator = dict(type='CaptionMetric', meteor=False)
test_evaluator = dict(type='CaptionMetric')
