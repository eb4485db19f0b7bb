# The head averages over frames, which hides their order. A config that inherits this one can add
# a neck.
_base_ = ['_base_/backbones/mobilenetv2_025.py', '_base_/recipes/quickstart_48.py']
_base_.model.pop('neck')
model = _base_.pop('recipe_part')
