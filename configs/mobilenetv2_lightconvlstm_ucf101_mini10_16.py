_base_ = [
    '_base_/backbones/mobilenetv2_frozen3.py',
    '_base_/necks/lightconvlstm_reduced.py',
    '_base_/recipes/ucf101_mini10_16.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
