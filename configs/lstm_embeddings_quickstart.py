# An LSTM over the word vectors of a review, of any length. The order of the
# words alone decides.
_base_ = '_base_/default_runtime.py'

data_root = 'data/embeddings_quickstart'
data_help = (
    'fix: make the built-in reviews in data/embeddings_quickstart, which takes seconds: '
    'python tools/data/make_embeddings_quickstart.py'
)

model = dict(
    type='Recognizer3D',
    backbone=dict(type='PrecomputedFeatures'),
    neck=dict(type='LSTMPoolingNeck', in_channels=16, hidden_channels=32, temporal_pool='last'),
    cls_head=dict(
        type='I3DHead', num_classes=2, in_channels=32, dropout_ratio=0, average_clips='prob'
    ),
    data_preprocessor=dict(type='FeatureDataPreprocessor'),
)

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CachedFeatureDataset',
        ann_file=f'{data_root}/embeddings_train_list.txt',
        data_prefix=dict(feature=f'{data_root}/vectors'),
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CachedFeatureDataset',
        ann_file=f'{data_root}/embeddings_val_list.txt',
        data_prefix=dict(feature=f'{data_root}/vectors'),
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='CosineAnnealingLR', begin=0, end=8, eta_min=1e-4, convert_to_iter_based=True)
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=1e-2),
    clip_grad=dict(max_norm=5, norm_type=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=32)
