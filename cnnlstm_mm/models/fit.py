"""Compatibility of MMAction2's backbones and heads with recurrent necks.

``docs/matrix.md`` shows these tables; ``tests/models/test_matrix.py`` runs what fits and compares
the tables with MMAction2's registry, so that none is left out.
"""

from torch import nn

from cnnlstm_mm.config import type_name
from mmaction.registry import MODELS

from .necks import RecurrentNeck

# On single frames: TimeDistributed(backbone=...).
FRAME_BACKBONES = {
    'MobileNetV1': '',
    'MobileNetV2': '',
    'MobileNetV2TSM': 'num_segments=T, pretrained2d=False',
    'MobileOneTSM': 'num_segments=T, pretrained2d=False; needs mmpretrain',
    'ResNet': '',
    'ResNetTIN': 'num_segments=T, pretrained2d=False; needs the full mmcv',
    'ResNetTSM': 'num_segments=T, pretrained2d=False',
    'TANet': 'num_segments=T',
}

SCOPES = ('mmpretrain.', 'mmcls.', 'timm.')  # of libraries of frame backbones

# On clips: as they are. Those that shorten the clip leave fewer steps.
CLIP_BACKBONES = {
    'C2D': 'halves T',
    'MViT': 'output_cls_token=False; halves T',
    'OmniResNet': '',
    'PrecomputedFeatures': '',
    'ResNet2Plus1d': '',
    'ResNet3d': 'halves T; with_pool2=False keeps it',
    'ResNet3dCSN': 'a sixteenth of T; with_pool2=False and temporal_strides=(1, 1, 1, 1) keep it',
    'ResNet3dSlowOnly': '',
    'SwinTransformer3D': 'halves T',
    'UniFormer': 'halves T',
    'VisionTransformer': 'return_feat_map=True, use_mean_pooling=False; halves T',
    'X3D': '',
}

MISFIT_BACKBONES = {
    'AAGCN': 'reads skeletons instead of frames',
    'C3D': 'ends in dense layers over the whole clip, which leave no time: '
    'use ResNet3dSlowOnly or ResNet2Plus1d',
    'RGBPoseConv3D': 'reads frames and pose heat maps together and returns '
    'two pathways: use ResNet3dSlowOnly',
    'ResNet3dLayer': 'is one stage of a ResNet3d, not a backbone: use ResNet3d',
    'ResNet3dSlowFast': 'returns two pathways of different length, no one '
    'sequence: use ResNet3dSlowOnly, its slow pathway',
    'ResNetAudio': 'reads spectrograms instead of frames',
    'STGCN': 'reads skeletons instead of frames',
    'TimeSformer': 'returns the class token alone, one vector a clip, which '
    'leaves no time: use SwinTransformer3D or UniFormer',
    'UniFormerV2': 'returns one vector a clip, which leaves no time: use UniFormer',
}

HEADS = {
    'FeatureHead': 'returns features; for testing alone',
    'FlattenHead': 'spatial_size of the feature',
    'I3DHead': '',
    'PerStepHead': 'a neck that returns all steps',
    'TPNHead': '',
    'X3DHead': '',
}

MISFIT_HEADS = {
    'GCNHead': 'is for the features of skeletons: use I3DHead',
    'MViTHead': 'takes the class token of MViT: use I3DHead',
    'OmniHead': 'has a second half for images, which would never learn: use I3DHead',
    'RGBPoseHead': 'takes the two pathways of RGBPoseConv3D: use I3DHead',
    'SlowFastHead': 'takes the two pathways of SlowFast: use I3DHead',
    'TRNHead': 'needs num_segs, which Recognizer2D alone passes: use I3DHead',
    'TSMHead': 'needs num_segs, which Recognizer2D alone passes: use I3DHead',
    'TSNAudioHead': 'takes spectrogram features [N, C, h, w]: use I3DHead',
    'TSNHead': 'needs num_segs, which Recognizer2D alone passes: use I3DHead',
    'TimeSformerHead': 'takes one vector a clip, [N, C]: use I3DHead, which pools',
    'UniFormerHead': 'takes one vector a clip, [N, C]: use I3DHead, which pools',
}


def neck_class(neck: dict | None) -> type[RecurrentNeck] | None:
    """Class of a neck's config; None without a neck, or with one that is not recurrent."""
    kind = (neck or {}).get('type')
    if isinstance(kind, str):
        kind = MODELS.get(kind)
    return kind if isinstance(kind, type) and issubclass(kind, RecurrentNeck) else None


def check_fit(model: dict | None) -> None:
    """Refuse the config of a recognizer whose parts do not go together.

    Args:
        model: The config. One without a recurrent neck is left alone.

    Raises:
        ValueError: Naming the part, the reason and the cure.
    """
    if model is None or neck_class(model.get('neck')) is None:
        return
    neck = type_name(model['neck'])
    backbone, wrapped = model.get('backbone') or {}, False
    while type_name(backbone) == 'TimeDistributed':
        backbone, wrapped = backbone['backbone'], True
    name, head = type_name(backbone), type_name(model.get('cls_head'))
    if name in MISFIT_BACKBONES:
        raise ValueError(f'{name} does not go with {neck}: it {MISFIT_BACKBONES[name]}.')
    if wrapped and name in CLIP_BACKBONES:
        raise ValueError(
            f'{name} takes clips and not single frames: use it without TimeDistributed.'
        )
    if not wrapped and (name in FRAME_BACKBONES or name.startswith(SCOPES)):
        raise ValueError(
            f'{name} takes single frames: backbone=dict('
            f'type="TimeDistributed", backbone=dict(type="{name}", ...)).'
        )
    if head in MISFIT_HEADS:
        raise ValueError(f'{head} does not go with {neck}: it {MISFIT_HEADS[head]}.')


def check_channels(model: nn.Module) -> None:
    """Compare the channels that a model's neck gives with those that its head takes.

    Those that the neck takes are compared with the backbone's feature in the first forward pass.

    Raises:
        ValueError: With both numbers and the key to change.
    """
    gives = getattr(getattr(model, 'neck', None), 'out_channels', None)
    takes = getattr(getattr(model, 'cls_head', None), 'in_channels', None)
    if isinstance(gives, int) and isinstance(takes, int) and gives != takes:
        raise ValueError(
            f'{type(model.cls_head).__name__}: expected in_channels={gives}, the channels of '
            f'{type(model.neck).__name__}, got {takes}; fix: set '
            f'model.cls_head.in_channels={gives}'
        )
