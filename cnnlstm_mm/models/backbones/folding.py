"""A copy of a backbone with its batch norm folded, for running only."""
import copy
from typing import Any, Optional, Tuple

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from torch import Tensor, nn


class FoldedCopy:
    """Holds a folded copy of a backbone in step with its weights.

    It is no ``nn.Module``, so that neither checkpoints nor optimizers see the
    copy, and it is left out when its owner is copied or pickled.

    Folding assumes that a batch norm follows the convolution that stands
    before it (mmcv's ``fuse_conv_bn``). The first clip after every change of
    the weights is run both ways: where the features differ by more than
    ``tolerance``, the backbone itself is used and the log says so.

    Args:
        tolerance (float): The largest difference between the features,
            relative to their largest value. Defaults to 1e-3.
    """

    def __init__(self, tolerance: float = 1e-3) -> None:
        self.tolerance = tolerance
        self._key: Optional[Tuple] = None
        self._module: Optional[nn.Module] = None

    def __deepcopy__(self, memo: dict) -> 'FoldedCopy':
        return FoldedCopy(self.tolerance)

    def __reduce__(self) -> Tuple:
        return FoldedCopy, (self.tolerance, )

    def __call__(self, backbone: nn.Module, frames: Tensor,
                 clip_len: int) -> Any:
        """Run the backbone in evaluation mode.

        Args:
            backbone (nn.Module): The backbone, in evaluation mode.
            frames (Tensor): Frames, shape [N*T, 3, H, W].
            clip_len (int): T, for backbones that mix the frames of a clip.

        Returns:
            Any: What ``backbone(frames)`` returns.
        """
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return backbone(frames)
        key = tuple((t.data_ptr(), t._version, t.dtype, t.device)
                    for t in (*backbone.parameters(), *backbone.buffers()))
        if key != self._key:
            self._module = self._fold(backbone, frames[:clip_len])
            self._key = key
        return (self._module or backbone)(frames)

    def _fold(self, backbone: nn.Module,
              clip: Tensor) -> Optional[nn.Module]:
        if not any(isinstance(m, nn.modules.batchnorm._BatchNorm)
                   for m in backbone.modules()):
            return None
        module = copy.deepcopy(backbone)
        module.eval()
        module = fuse_conv_bn(module).requires_grad_(False)
        if clip.is_contiguous(memory_format=torch.channels_last):
            module.to(memory_format=torch.channels_last)
        expected, got = _tensors(backbone(clip)), _tensors(module(clip))
        for want, have in zip(expected, got):
            limit = self.tolerance * want.abs().amax().clamp_min(1e-12)
            if want.numel() and not (have - want).abs().amax() <= limit:
                print_log(
                    f'{type(backbone).__name__}: its batch norm cannot be '
                    'folded into its convolutions; it runs unfolded.',
                    'current')
                return None
        return module


def _tensors(features: Any) -> Tuple[Tensor, ...]:
    return (features, ) if isinstance(features, Tensor) else tuple(features)
