# A new neck and head on a frozen backbone.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=8, val_begin=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=0, end=8, T_max=8, convert_to_iter_based=True
    )
]

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=1e-2),
    clip_grad=dict(max_norm=20, norm_type=2),
)

# 1 process x 8 videos; switched on by tools/train.py --auto-scale-lr.
auto_scale_lr = dict(enable=False, base_batch_size=8)
