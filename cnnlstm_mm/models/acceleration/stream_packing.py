"""A backbone made ready for single frames on a CPU."""

import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor

from cnnlstm_mm.models.acceleration.packed_conv import pack
from cnnlstm_mm.models.backbones import TimeDistributed


def pack_backbone(
    backbone: TimeDistributed, size: tuple[int, int], tolerance: float = 1e-3
) -> TimeDistributed:
    """Fold batch norms and activations and pack the weights, for one frame.

    Args:
        backbone (TimeDistributed): In evaluation mode, float32, on the CPU.
            It is left as it is.
        size (tuple[int]): Height and width of the frames.
        tolerance (float): The largest difference between the features,
            relative to their largest value. Defaults to 1e-3.

    Returns:
        TimeDistributed: A copy that computes the same, or ``backbone`` itself
        where oneDNN is missing or the copy would compute something else.
    """
    frame = torch.randn(1, 3, 1, *size)
    want = _tensors(backbone(frame))
    packed = copy.deepcopy(backbone)
    packed.backbone = fuse_conv_bn(packed.backbone)
    if not pack(packed, frame):
        return backbone
    for one, other in zip(want, _tensors(packed(frame))):
        if not (one - other).abs().max() <= tolerance * one.abs().max():
            return backbone
    return packed


def _tensors(features) -> tuple[Tensor, ...]:
    return features if isinstance(features, tuple) else (features,)
