# Fine-tuning on a few clips of a model that was trained on drawn ones.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_begin=10, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, end=1, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', begin=1, end=10, eta_min=1e-6, convert_to_iter_based=True),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=5, norm_type=2),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
