_base_ = [
    '_base_/backbones/mobilenet_025_difference.py',
    '_base_/necks/convlstm_small.py',
    '_base_/recipes/gestures.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
