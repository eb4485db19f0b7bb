# A config that inherits this one can add a neck.
_base_ = ['_base_/backbones/mobilenetv2_frozen3.py', '_base_/recipes/ucf101_mini10_112.py']
_base_.model.pop('neck')
model = _base_.pop('recipe_part')
