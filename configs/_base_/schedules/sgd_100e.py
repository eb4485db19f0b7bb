# What worked for MMAction2's MobileNetV2 on Kinetics-400 (open-mmlab/mmaction2
# pull request 415): SGD, weight decay 4e-5, a tenth after epochs 40 and 80,
# gradients clipped at 20.
_base_ = './sgd_50e.py'

train_cfg = dict(max_epochs=100)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=5, convert_to_iter_based=True
    ),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=100, milestones=[40, 80], gamma=0.1),
]
