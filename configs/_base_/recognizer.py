# A 2-D backbone on every frame; the head averages over space and time. Files in backbones/ extend
# `model`. A leaf config merges `neck_part` of necks/ and `recipe_part` of recipes/ into it with
# `|`, which merges nested dicts too. Both parts are popped so that every setting stands in the
# merged config once.
model = dict(
    type='Recognizer3D',
    backbone=dict(type='TimeDistributed'),
    cls_head=dict(type='I3DHead', dropout_ratio=0.5, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
