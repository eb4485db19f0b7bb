_base_ = './mobilenetv2_avgpool.py'

weights_help = None
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='ResNet',
            depth=50,
            pretrained='https://download.pytorch.org/models/resnet50-11ad3fa6.pth',
        )
    ),
    cls_head=dict(in_channels=2048),
)
