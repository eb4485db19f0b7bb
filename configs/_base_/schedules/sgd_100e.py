_base_ = './sgd_50e.py'

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        by_epoch=True,
        begin=0,
        end=5,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=5,
        end=100,
        T_max=95,
        convert_to_iter_based=True)
]
