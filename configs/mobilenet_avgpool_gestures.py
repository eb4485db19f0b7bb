_base_ = [
    '_base_/backbones/mobilenet_025.py',
    '_base_/necks/avgpool.py',
    '_base_/recipes/gestures.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
