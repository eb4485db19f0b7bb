"""A copy of a backbone for running only, its batch norm folded."""

import copy
import platform
from typing import Any

import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.logging import print_log
from torch import Tensor, nn

from .packed_conv import pack


class FoldedCopy:
    """Holds a folded copy of a backbone in step with its weights.

    On a CPU the copy's convolutions are packed, with their activations, see
    :class:`PackedConv`.

    It is no ``nn.Module``, so that neither checkpoints nor optimizers see the
    copy, and it is left out when its owner is copied or pickled.

    Folding assumes that a batch norm follows the convolution that stands
    before it (mmcv's ``fuse_conv_bn``). The first clip after every change of
    the weights is run both ways: where the features differ by more than
    ``tolerance``, the backbone itself is used and the log says so.

    Args:
        bf16 (bool): The copy computes in bfloat16, where the device has
            instructions for it; elsewhere the log says so and it computes in
            the dtype of the frames. Defaults to False.
        tolerance (float): The largest difference between the features,
            relative to their largest value; in bfloat16, which rounds to 8
            bits, 50 times as much. Defaults to 1e-3.
    """

    def __init__(self, bf16: bool = False, tolerance: float = 1e-3) -> None:
        self.bf16 = bf16
        self.tolerance = tolerance
        self._key: tuple | None = None
        self._module: nn.Module | None = None

    def __deepcopy__(self, memo: dict) -> 'FoldedCopy':
        return FoldedCopy(self.bf16, self.tolerance)

    def __reduce__(self) -> tuple:
        return FoldedCopy, (self.bf16, self.tolerance)

    def __call__(self, backbone: nn.Module, frames: Tensor, clip_len: int) -> Any:
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
        key = tuple(
            (t.data_ptr(), t._version, t.dtype, t.device)
            for t in (*backbone.parameters(), *backbone.buffers())
        )
        if key != self._key:
            self._module = self._fold(backbone, frames[:clip_len])
            self._key = key
        if self._module is None:
            return backbone(frames)
        return self._run(self._module, frames)

    def _run(self, module: nn.Module, frames: Tensor) -> Any:
        """Run the copy in its own dtype and return features in the frames'."""
        dtype = torch.bfloat16 if self.bf16 and has_bfloat16(frames.device) else frames.dtype
        if dtype == frames.dtype:
            return module(frames)
        outputs = module(frames.to(dtype))
        if isinstance(outputs, Tensor):
            return outputs.to(frames.dtype)
        return tuple(o.to(frames.dtype) for o in outputs)

    def _fold(self, backbone: nn.Module, clip: Tensor) -> nn.Module | None:
        bf16 = self.bf16 and has_bfloat16(clip.device)
        if self.bf16 and not bf16:
            print_log(
                f'{type(backbone).__name__}: bf16=True, but this '
                f'{clip.device.type} has no bfloat16 instructions; it runs in '
                f'{clip.dtype}.',
                'current',
            )
        if not bf16 and not any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in backbone.modules()
        ):
            return None
        module = copy.deepcopy(backbone)
        module.eval()
        module = fuse_conv_bn(module).requires_grad_(False)
        if bf16:
            module.to(torch.bfloat16)
        if clip.is_contiguous(memory_format=torch.channels_last):
            module.to(memory_format=torch.channels_last)
        if (
            clip.dtype == torch.float32
            and not bf16
            and not torch.is_autocast_enabled(clip.device.type)
        ):
            pack(module, clip)
        expected = _tensors(backbone(clip))
        got = _tensors(self._run(module, clip))
        tolerance = self.tolerance * (50 if bf16 else 1)
        for want, have in zip(expected, got):
            limit = tolerance * want.abs().amax().clamp_min(1e-12)
            if want.numel() and not (have - want).abs().amax() <= limit:
                print_log(
                    f'{type(backbone).__name__}: its batch norm cannot be '
                    'folded into its convolutions; it runs unfolded.',
                    'current',
                )
                return None
        return module


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes products in bfloat16 faster than in float32.

    Args:
        device (torch.device): A CPU needs AVX-512 BF16 or AMX, or to be an
            ARM that PyTorch's oneDNN uses bfloat16 on.

    Returns:
        bool: False for devices where bfloat16 is emulated.
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != 'cpu':
        return False
    if platform.machine() in ('aarch64', 'arm64'):
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _tensors(features: Any) -> tuple[Tensor, ...]:
    return (features,) if isinstance(features, Tensor) else tuple(features)
