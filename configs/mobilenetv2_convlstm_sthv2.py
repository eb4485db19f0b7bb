_base_ = ['_base_/backbones/mobilenetv2.py', '_base_/necks/convlstm.py', '_base_/recipes/sthv2.py']
model = _base_.pop('neck_part') | _base_.pop('recipe_part')
