_base_ = [
    '_base_/backbones/mobilenetv2_frozen3.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/ucf101_mini10_112.py',
]
model = _base_.pop('neck_part') | _base_.pop('recipe_part')

# At the full rate the neck overfits the 240 clips.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=0.3))))
