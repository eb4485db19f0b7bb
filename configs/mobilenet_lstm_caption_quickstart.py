# A small MobileNet on the difference of frames, which leaves the moving shape alone, an LSTM over
# its 4x4 positions, a decoder that attends to its steps. The residual gives the decoder each
# step's mean feature beside the recurrence.
_base_ = [
    '_base_/backbones/mobilenet_025.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/caption_quickstart.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(
        backbone=dict(motion='difference'),
        neck=dict(
            hidden_channels=128,
            dense_channels=128,
            spatial_pool='flatten',
            spatial_size=4,
            temporal_pool='sequence',
            residual=True,
        ),
        cls_head=dict(in_channels=64),
    )
)
