# The same backbone and budget; the head averages over frames.
_base_ = [
    '_base_/backbones/mobilenet_025.py',
    '_base_/necks/avgpool.py',
    '_base_/recipes/quickstart.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
