# From features that are stored once:
#   python tools/extract_features.py configs/mobilenetv2_convlstm_ucf101_mini10_16.py
#       --out data/features/mobilenetv2_ucf101_mini10_16 --train-views 2 --cfg-options features=None
_base_ = [
    '../datasets/ucf101_mini10_16.py',
    '../schedules/adamw_8e_head.py',
    '../default_runtime.py',
]

recipe_part = dict(backbone=dict(frozen=True))
features = 'data/features/mobilenetv2_ucf101_mini10_16'
