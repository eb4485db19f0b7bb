_base_ = [
    '_base_/backbones/mobilenetv2.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/diving48_16.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
