# MobileNet v1 with the ImageNet weights of Keras.
_base_ = '../recognizer.py'

weights_help = (
    'fix: get mobilenet_1_0_224_tf_no_top.h5, the ImageNet weights of Keras applications, and run '
    'python tools/convert_keras_weights.py mobilenet_1_0_224_tf_no_top.h5 '
    'checkpoints/mobilenet_v1_imagenet.pth; to train from scratch: '
    '--cfg-options model.backbone.backbone.init_cfg=None'
)

__channels = 1024
model = dict(
    backbone=dict(
        frozen=False,
        backbone=dict(
            type='MobileNetV1',
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v1_imagenet.pth'),
        ),
    ),
    neck=dict(in_channels=__channels),
    cls_head=dict(in_channels=__channels),
)
