"""Inference-only copy with batch norm folded into the convolutions."""

import contextlib
import copy
import platform
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.autograd import forward_ad

from cnnlstm_mm.layers.fused import must_be_plain

from .module_state import ModuleState, obstacle
from .packed_conv import fold

# ``_has_any_global_hook`` stays true after a hook that was registered with_kwargs is removed.
GLOBAL_HOOKS = (
    '_global_forward_hooks',
    '_global_forward_pre_hooks',
    '_global_backward_hooks',
    '_global_backward_pre_hooks',
)


class _Copy(NamedTuple):
    """A copy, and what it was made for."""

    key: tuple
    state: ModuleState
    module: nn.Module | None  # None: the backbone itself runs
    failed: torch.Size | None  # shape of the frames with which folding failed


class FoldedCopy:
    """Runs a copy of a backbone with batch norm folded, while that computes the same.

    On a CPU its convolutions are packed, with the activations behind them
    (:class:`~cnnlstm_mm.models.acceleration.packed_conv.PackedConv`). A change of an attribute, a
    submodule or a weight, in whichever way, rebuilds the copy
    (:class:`~cnnlstm_mm.models.acceleration.module_state.ModuleState`, with the cost of the
    comparison at each call); that takes about 8 calls of one frame.

    The backbone itself runs wherever the difference could be seen: hooks, submodules in training
    mode, ``torch.func``, forward-mode derivatives, tracing, compilation, dispatch and function
    modes, subclasses of tensors, NaN or infinity in the frames. So it does where folding fails or
    changes the features of random frames; the log says why, once.

    It is not an ``nn.Module``: neither checkpoints nor optimizers see the copy, and owners are
    copied and pickled without it. Threads may share it.

    Args:
        bf16: Compute under autocast to bfloat16 where the device has instructions for it
            (elsewhere the log says so); the features come in the dtype of the frames.
        immutable: The caller owns the backbone, whose weights and attributes nobody changes: only
            hooks are looked for.
    """

    def __init__(self, bf16: bool = False, immutable: bool = False) -> None:
        self.bf16 = bf16
        self.immutable = immutable
        self._copy: _Copy | None = None
        self._logged: set[str] = set()

    def __deepcopy__(self, memo: dict) -> 'FoldedCopy':
        return FoldedCopy(self.bf16, self.immutable)

    def __reduce__(self) -> tuple:
        return FoldedCopy, (self.bf16, self.immutable)

    def __call__(self, backbone: nn.Module, frames: Tensor, clip_len: int) -> Any:
        """Run the backbone without gradients.

        Args:
            backbone: The backbone, in evaluation mode.
            frames: [N*T, 3, H, W].
            clip_len: T, for backbones that mix the frames of a clip.

        Returns:
            The features, as ``backbone(frames)`` returns them.
        """
        if _is_observed(frames, self.immutable) or not frames.numel():
            return backbone(frames)
        dtype, current = self._autocast_dtype(backbone, frames.device), None
        # Fused activations turn NaN into a number.
        finite = frames.device.type != 'cpu' or frames.sum(dtype=torch.float32).isfinite()
        if finite and not any(vars(nn.modules.module)[hooks] for hooks in GLOBAL_HOOKS):
            current = self._current(backbone, frames[:clip_len], dtype)
        module = backbone if current is None or current.module is None else current.module
        with _autocast(frames.device, dtype):
            features = module(frames)
        if not self.bf16:
            return features
        if isinstance(features, Tensor):
            return features.to(frames.dtype)
        return tuple(feature.to(frames.dtype) for feature in features)

    def _autocast_dtype(self, backbone: nn.Module, device: torch.device) -> torch.dtype | None:
        if self.bf16 and has_bfloat16(device):
            return torch.bfloat16
        if self.bf16:
            self._log(
                f'{type(backbone).__name__} runs in the dtype of its frames: expected bfloat16 '
                f'instructions for bf16=True, this {device.type} has none'
            )
        if torch.is_autocast_enabled(device.type):
            return torch.get_autocast_dtype(device.type)
        return None

    def _current(
        self, backbone: nn.Module, clip: Tensor, dtype: torch.dtype | None
    ) -> _Copy | None:
        """The last copy if it fits, else a new one; None where there can be none."""
        key = (dtype, clip.dtype, clip.device, torch.backends.mkldnn.enabled)
        last = self._copy
        if (
            last is not None
            and last.key == key
            and last.failed in (None, clip.shape[1:])
            and last.state.modules[0] is backbone
            and (not last.state.has_hooks() if self.immutable else last.state.is_current())
        ):
            return last
        new, cause = None, obstacle(backbone, clip.device)
        if cause is None:
            with torch.inference_mode(False), torch.no_grad():
                state = ModuleState(backbone, values=not self.immutable)
                module, cause = fold_copy(backbone, clip, dtype, pack=clip.device.type == 'cpu')
                if module is None and cause is None:  # nothing to fold, whatever the weights
                    state = ModuleState(backbone, values=False)
            self._copy = new = _Copy(key, state, module, clip.shape[1:] if cause else None)
        if cause is not None:
            self._log(f'{type(backbone).__name__} runs without folded batch norm: {cause}')
        return new

    def _log(self, message: str) -> None:
        if message not in self._logged:
            self._logged.add(message)
            print_log(message, 'current')


def fold_copy(
    backbone: nn.Module, frames: Tensor, dtype: torch.dtype | None = None, pack: bool = False
) -> tuple[nn.Module | None, str | None]:
    """Copy a backbone with batch norm folded, and compare both on random frames.

    The copy is refused if its features differ by more than 1e-3 of the largest one, 5e-2 under
    autocast, or if the forward pass changes the backbone.

    Args:
        backbone: In evaluation mode, without hooks.
        frames: Frames like those to come, [N, 3, H, W]; their values are not used.
        dtype: Of the autocast under which the copy will run.
        pack: Pack the convolutions for oneDNN, with the activations they feed.

    Returns:
        The copy, None if it would not differ or is refused; and why it is refused, if so.
    """
    try:
        with torch.random.fork_rng([frames.device] if frames.is_cuda else []):
            return _fold_copy(backbone, frames, dtype, pack), None
    except Exception as error:
        return None, f'{type(error).__name__}: {error}'


def _fold_copy(
    backbone: nn.Module, frames: Tensor, dtype: torch.dtype | None, pack: bool
) -> nn.Module | None:
    generator = torch.Generator().manual_seed(0)
    probe = torch.empty_like(frames, dtype=torch.float32, device='cpu')
    probe = probe.normal_(generator=generator).to(frames)
    module = copy.deepcopy(backbone).requires_grad_(False)
    with _autocast(frames.device, dtype):
        expected, changed = fold(module, probe, dtype, pack)
        if not changed:
            return None
        folded = module(probe)
    tolerance = 1e-3 if dtype is None else 5e-2
    for want, have in zip(_tensors(expected), _tensors(folded), strict=True):
        if want.dtype != have.dtype or want.shape != have.shape:
            raise ValueError(f'expected {want.dtype} {list(want.shape)}, got {have.dtype}')
        error = (have.float() - want.float()).abs().amax()
        if not error <= tolerance * want.float().abs().amax().clamp_min(1e-12):
            raise ValueError(f'the features change by {error:.2g}')
    return module


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes products in bfloat16 faster than in float32.

    A CPU needs AVX-512 BF16 or AMX, or to be an ARM that PyTorch's oneDNN uses bfloat16 on.
    False where bfloat16 is emulated.
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != 'cpu':
        return False
    if platform.machine() in ('aarch64', 'arm64'):
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _is_observed(frames: Tensor, immutable: bool) -> bool:
    """Whether something looks at, or changes, the operations or the tensors."""
    return (
        torch.compiler.is_compiling()
        or must_be_plain()
        or type(frames) is not Tensor
        or not frames.is_floating_point()
        or frames.is_meta
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or forward_ad._current_level >= 0
        # A replayed graph compares no weights.
        or (not immutable and frames.is_cuda and torch.cuda.is_current_stream_capturing())
    )


def _autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype)


def _tensors(features: Any) -> tuple[Tensor, ...]:
    return (features,) if isinstance(features, Tensor) else tuple(features)
