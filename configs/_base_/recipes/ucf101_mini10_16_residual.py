# Of the same features, after the averaging head.
_base_ = [
    '../datasets/ucf101_mini10_16.py',
    '../schedules/adamw_4e_residual.py',
    '../default_runtime.py',
]

recipe_part = dict(backbone=dict(frozen=True))
features = 'data/features/mobilenetv2_ucf101_mini10_16'
