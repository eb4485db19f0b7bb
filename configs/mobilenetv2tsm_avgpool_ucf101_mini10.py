# TSM: some channels go to the frame before and after; then averaged.
_base_ = 'mobilenetv2_avgpool_ucf101_mini10.py'

model = dict(
    backbone=dict(
        backbone=dict(
            type='MobileNetV2TSM',
            num_segments=8,
            pretrained2d=True,
            pretrained='checkpoints/mobilenet_v2_imagenet.pth',
            init_cfg=None,
        )
    )
)
