"""TimeDistributed backbones with non-trivial statistics, and the same without copies."""

import copy
import logging

import torch
from torch import Tensor, nn

from mmaction.registry import MODELS

V1 = dict(type='MobileNetV1', widen_factor=0.25, out_indices=(2,))
V2 = dict(type='MobileNetV2', widen_factor=0.25)


def build(backbone: dict | nn.Module = V1, **kwargs) -> nn.Module:
    """Build TimeDistributed; a module becomes its backbone as it is."""
    config = V1 if isinstance(backbone, nn.Module) else backbone
    module = MODELS.build(dict(type='TimeDistributed', backbone=config, **kwargs))
    logging.disable(logging.INFO)  # a line a weight
    module.init_weights()
    logging.disable(logging.NOTSET)
    if isinstance(backbone, nn.Module):
        module.backbone = backbone
        module.backbone.requires_grad_(not module.frozen)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None:
            if m.running_mean.is_inference():
                continue
            nn.init.uniform_(m.running_mean, -0.2, 0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5)
    return module.eval()


def without_copy(module: nn.Module) -> nn.Module:
    """Copy a TimeDistributed that always runs its backbone itself."""
    module = copy.deepcopy(module)
    module._folded = lambda backbone, frames, clip_len: backbone(frames)
    return module


@torch.no_grad()
def backbone_features(module: nn.Module, x: Tensor) -> Tensor:
    """The features of the backbone itself."""
    frames = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return module.backbone(frames).unflatten(0, (len(x), -1)).transpose(1, 2)


def is_folded(module: nn.Module) -> bool:
    """Whether the last call ran a folded copy, or would have without observers."""
    made = module._folded._copy
    return made is not None and made.module is not None
