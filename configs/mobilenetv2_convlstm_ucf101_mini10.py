_base_ = [
    '_base_/backbones/mobilenetv2_frozen3.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/ucf101_mini10_112.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(neck=dict(hidden_channels=128, return_mode='mean'), cls_head=dict(in_channels=128))
)

# At the full rate the neck overfits the 240 clips.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(neck=dict(lr_mult=0.3))))
