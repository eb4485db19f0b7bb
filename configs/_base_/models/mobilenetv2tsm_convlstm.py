# Temporal shift modules mix neighbouring frames in the backbone already.
_base_ = './mobilenetv2_convlstm.py'

weights_help = None
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='MobileNetV2TSM',
            num_segments=8,
            shift_div=8,
            pretrained='mmcls://mobilenet_v2',
        )
    )
)
