# A small MobileNet at stride 16 on each frame and its difference to the one before: the difference
# shows where the shape goes, the frame what it is. An LSTM over the mean of the frame's positions, a
# decoder that attends to its steps. The residual gives the decoder each step's mean feature beside
# the recurrence.
_base_ = [
    '_base_/backbones/mobilenet_025.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/caption_quickstart.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(
        backbone=dict(motion='both', backbone=dict(out_indices=(6,))),
        neck=dict(in_channels=128, hidden_channels=128, temporal_pool='sequence', residual=True),
        cls_head=dict(in_channels=128),
    )
)
