# A small MobileNetV2 at stride 8, a ConvLSTM, a decoder that attends to its steps.
_base_ = [
    '_base_/backbones/mobilenetv2_025.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/caption_quickstart.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(neck=dict(hidden_channels=48, return_mode='sequence'), cls_head=dict(in_channels=48))
)
