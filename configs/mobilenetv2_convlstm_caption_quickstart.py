# MobileNetV2 up to stride 16 on each frame and its difference to the one before, a ConvLSTM, a
# decoder that attends to its steps. The residual gives the decoder each frame's feature beside the
# recurrence.
_base_ = [
    '_base_/backbones/mobilenetv2_025.py',
    '_base_/necks/convlstm.py',
    '_base_/recipes/caption_quickstart.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(
        backbone=dict(motion='both', backbone=dict(widen_factor=0.5, out_indices=(3,))),
        neck=dict(in_channels=32, hidden_channels=32, return_mode='sequence', residual=True),
        cls_head=dict(in_channels=32),
    )
)
