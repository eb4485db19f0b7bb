# An LSTM over the 6x6 positions of the difference of two frames.
_base_ = [
    '_base_/backbones/mobilenetv2_025.py',
    '_base_/necks/lstm.py',
    '_base_/recipes/quickstart_48.py',
]
model = (
    _base_.pop('neck_part')
    | _base_.pop('recipe_part')
    | dict(
        backbone=dict(motion='difference'),
        neck=dict(
            hidden_channels=64,
            spatial_pool='flatten',
            spatial_size=6,
            dense_channels=128,
            temporal_pool='last',
        ),
        cls_head=dict(in_channels=64),
    )
)
