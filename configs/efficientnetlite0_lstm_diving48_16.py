_base_ = [
    '_base_/backbones/efficientnetlite0.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/diving48_16.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
