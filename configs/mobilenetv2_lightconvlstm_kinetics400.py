# 3.12 G multiply-adds a view of 8 frames; TSM-MobileNetV2 costs 3.27.
_base_ = [
    '_base_/backbones/mobilenetv2.py',
    '_base_/necks/lightconvlstm.py',
    '_base_/recipes/kinetics400_8.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
