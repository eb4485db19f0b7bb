_base_ = [
    '_base_/backbones/mobilenet_025_difference.py',
    '_base_/necks/convlstm_small.py',
    '_base_/recipes/egogestar.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')

starts_from = 'mobilenet_convlstm_gestures.py'
