_base_ = ['_base_/backbones/mobilenet.py', '_base_/necks/avgpool.py', '_base_/recipes/hmdb51.py']
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
