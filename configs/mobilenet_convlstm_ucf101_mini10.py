_base_ = [
    '_base_/backbones/mobilenet.py',
    '_base_/necks/convlstm_flatten.py',
    '_base_/recipes/ucf101_mini10.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')

# Chosen on the 100 validation clips.
optim_wrapper = dict(optimizer=dict(lr=1e-4))
