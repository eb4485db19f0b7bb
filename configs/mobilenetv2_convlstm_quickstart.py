_base_ = [
    '_base_/backbones/mobilenetv2_025.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/quickstart_48.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(neck=dict(hidden_channels=24, return_mode='mean'), cls_head=dict(in_channels=24))
)
