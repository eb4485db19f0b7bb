# Second of two trainings: the averaging head is trained, the recurrence begins at zero beside it.
# The head must be trained to its end, as adamw_8e_head.py does: what it has not learnt of the
# training clips, the recurrence learns by heart.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=4, val_begin=2, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

param_scheduler = [
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=0, end=4, T_max=4, convert_to_iter_based=True
    )
]

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=1e-2),
    paramwise_cfg=dict(custom_keys=dict(cls_head=dict(lr_mult=0.03))),
    clip_grad=dict(max_norm=20, norm_type=2),
)
# The mean of the weights over about the last fifty steps is tested and kept.
custom_hooks = [dict(type='EMAHook', momentum=0.02, update_buffers=True)]

# 1 process x 8 videos; switched on by tools/train.py --auto-scale-lr.
auto_scale_lr = dict(enable=False, base_batch_size=8)
