# The seed: MobileNet on every frame, ConvLSTM 256 3x3 'valid', last state,
# Flatten, Dense 256, softmax.
weights_help = (
    'Get mobilenet_1_0_224_tf_no_top.h5, the ImageNet weights of Keras '
    'applications, and run: python tools/convert_keras_weights.py '
    'mobilenet_1_0_224_tf_no_top.h5 checkpoints/mobilenet_v1_imagenet.pth\n'
    'To train from scratch: '
    '--cfg-options model.backbone.backbone.init_cfg=None'
)

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='TimeDistributed',
        frozen=False,
        backbone=dict(
            type='MobileNetV1',
            init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mobilenet_v1_imagenet.pth'),
        ),
    ),
    neck=dict(
        type='ConvLSTMNeck',
        in_channels=1024,
        hidden_channels=256,
        kernel_size=3,
        padding='valid',
        return_mode='last',
    ),
    cls_head=dict(
        type='FlattenHead',
        num_classes=101,
        in_channels=256,
        spatial_size=(5, 5),
        hidden_channels=256,
        dropout_ratio=0.5,
        average_clips='prob',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        format_shape='NCTHW',
    ),
)
