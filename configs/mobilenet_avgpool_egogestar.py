_base_ = [
    '_base_/backbones/mobilenet_025.py',
    '_base_/necks/avgpool.py',
    '_base_/recipes/egogestar.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')

starts_from = 'mobilenet_avgpool_gestures.py'
