"""Small configs of every backbone that our necks go behind.

Each maps a name to a backbone, the channels of its feature, the height and
width of the frames, and the steps that it makes of T frames.
"""

T = 4


def framewise(**backbone):
    return dict(type='TimeDistributed', backbone=backbone)


STAGE = dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
STAGES = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
FOUR = dict(num_segments=T, pretrained=None)
NARROW = dict(pretrained=None, base_channels=8)
TRANSFORMER = dict(embed_dims=24, num_layers=2, num_heads=2, feedforward_channels=48)
SWIN = dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2])

MMACTION = dict(
    MobileNetV1=(framewise(type='MobileNetV1', widen_factor=0.125), 128, 32, T),
    MobileNetV2=(framewise(type='MobileNetV2', widen_factor=0.1), 1280, 32, T),
    MobileNetV2TSM=(
        framewise(type='MobileNetV2TSM', num_segments=T, pretrained2d=False, widen_factor=0.1),
        1280,
        32,
        T,
    ),
    ResNet=(framewise(type='ResNet', depth=18, **STAGES), 128, 32, T),
    ResNetTSM=(framewise(type='ResNetTSM', depth=18, pretrained2d=False, **FOUR), 512, 32, T),
    ResNetTIN=(framewise(type='ResNetTIN', depth=50, pretrained2d=False, **FOUR), 2048, 32, T),
    TANet=(framewise(type='TANet', depth=50, **STAGE, **FOUR), 256, 32, T),
    C2D=(dict(type='C2D', depth=50, pretrained=None, **STAGES), 512, 32, T // 2),
    MViT=(
        dict(
            type='MViT',
            spatial_size=32,
            temporal_size=T,
            output_cls_token=False,
            arch=dict(embed_dims=12, num_layers=2, num_heads=1, downscale_indices=[1]),
        ),
        24,
        32,
        T // 2,
    ),
    OmniResNet=(dict(type='OmniResNet', layers=[1, 1, 1, 1]), 2048, 32, T),
    ResNet2Plus1d=(
        dict(
            type='ResNet2Plus1d',
            depth=18,
            pretrained2d=False,
            conv_cfg=dict(type='Conv2plus1d'),
            norm_cfg=dict(type='BN3d'),
            **NARROW,
        ),
        64,
        32,
        T,
    ),
    ResNet3d=(dict(type='ResNet3d', depth=18, **NARROW), 64, 32, T // 2),
    ResNet3dCSN=(
        dict(
            type='ResNet3dCSN',
            depth=50,
            pretrained2d=False,
            with_pool2=False,
            temporal_strides=(1, 1, 1, 1),
            **NARROW,
        ),
        256,
        32,
        T,
    ),
    ResNet3dSlowOnly=(dict(type='ResNet3dSlowOnly', depth=50, lateral=False, **NARROW), 256, 32, T),
    SwinTransformer3D=(
        dict(
            type='SwinTransformer3D',
            arch=SWIN,
            pretrained2d=False,
            window_size=(2, 2, 2),
            drop_path_rate=0.0,
        ),
        96,
        32,
        T // 2,
    ),
    UniFormer=(
        dict(
            type='UniFormer',
            depth=[1, 1, 1, 1],
            embed_dim=[8, 16, 16, 32],
            head_dim=8,
            img_size=32,
            pretrained2d=False,
        ),
        32,
        32,
        T // 2,
    ),
    VisionTransformer=(
        dict(
            type='VisionTransformer',
            img_size=32,
            embed_dims=24,
            depth=2,
            num_heads=2,
            mlp_ratio=2,
            num_frames=T,
            return_feat_map=True,
            use_mean_pooling=False,
        ),
        24,
        32,
        T // 2,
    ),
    X3D=(dict(type='X3D', gamma_w=0.5, gamma_b=1, gamma_d=0.5), 128, 32, T),
)

MMPRETRAIN = {
    'MobileOneTSM': (
        framewise(
            type='MobileOneTSM',
            num_segments=T,
            pretrained2d=False,
            arch=dict(
                num_blocks=[1] * 4,
                width_factor=[0.25] * 4,
                num_conv_branches=[1] * 4,
                num_se_blocks=[0] * 4,
            ),
        ),
        128,
        32,
        T,
    ),
    'mmpretrain.MobileNetV3': (
        framewise(type='mmpretrain.MobileNetV3', arch='small_050'),
        288,
        32,
        T,
    ),
    'mmpretrain.ResNet': (
        framewise(type='mmpretrain.ResNet', depth=18, base_channels=8, stem_channels=8),
        64,
        32,
        T,
    ),
    'mmpretrain.ShuffleNetV2': (
        framewise(type='mmpretrain.ShuffleNetV2', widen_factor=0.5),
        1024,
        32,
        T,
    ),
    'mmpretrain.ConvNeXt': (
        framewise(
            type='mmpretrain.ConvNeXt',
            drop_path_rate=0.0,
            arch=dict(depths=[1] * 4, channels=[8, 8, 16, 16]),
        ),
        16,
        32,
        T,
    ),
    'mmpretrain.VisionTransformer': (
        framewise(
            type='mmpretrain.VisionTransformer',
            arch=TRANSFORMER,
            img_size=32,
            patch_size=16,
            out_type='featmap',
        ),
        24,
        32,
        T,
    ),
    'mmpretrain.SwinTransformer': (
        framewise(
            type='mmpretrain.SwinTransformer',
            arch=SWIN,
            img_size=64,
            window_size=2,
            drop_path_rate=0.0,
        ),
        96,
        64,
        T,
    ),
    'timm resnet10t': (
        framewise(type='mmpretrain.TIMMBackbone', model_name='resnet10t'),
        512,
        32,
        T,
    ),
    'timm.mobilenetv3_small_050': (
        framewise(type='timm.mobilenetv3_small_050', features_only=True),
        288,
        32,
        T,
    ),
}
