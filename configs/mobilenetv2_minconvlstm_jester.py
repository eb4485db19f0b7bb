_base_ = [
    '_base_/backbones/mobilenetv2.py',
    '_base_/necks/minconvlstm.py',
    '_base_/recipes/jester.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
