_base_ = [
    '_base_/backbones/efficientnetlite0.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/rwf2000_16.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
