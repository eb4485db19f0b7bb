# TSM: some channels go to the frame before and after; then averaged.
_base_ = 'mobilenetv2_avgpool_quickstart.py'

model = dict(
    backbone=dict(backbone=dict(type='MobileNetV2TSM', num_segments=16, pretrained2d=False))
)
