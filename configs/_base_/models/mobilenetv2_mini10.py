# MobileNetV2 averaged over frames, its first three stages frozen: what the
# equal-budget comparison on UCF101-mini10 has in common.
weights_help = (
    'ImageNet weights of MobileNetV2 1.0 with the names of MMAction2, for RGB '
    'scaled to [-1, 1]. To train from scratch: '
    '--cfg-options model.backbone.backbone.init_cfg=None '
    'model.backbone.backbone.frozen_stages=-1'
)

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeDistributed',
        backbone=dict(
            type='MobileNetV2',
            frozen_stages=3,
            norm_eval=True,
            norm_cfg=dict(type='BN'),
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v2_imagenet.pth'),
        ),
    ),
    cls_head=dict(
        type='I3DHead', num_classes=10, in_channels=1280, dropout_ratio=0.5, average_clips='prob'
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
