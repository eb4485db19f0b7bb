"""Convolutions with folded batch norm, packed weight and fused activation."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.wrappers import Conv2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from cnnlstm_mm.layers.dispatch import can_prepack

from .in_place_relu import InPlaceHardtanh
from .module_state import ModuleState

PLAIN = (nn.Conv2d, Conv2d)  # forward is F.conv2d alone
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, InPlaceHardtanh)
RANKS = {**dict.fromkeys(NORMS, 1), **dict.fromkeys(ACTIVATIONS, 2)}  # behind a convolution
SIZES = 4  # layouts of a weight that are held at a time


class PackedConv(nn.Module):
    """A convolution with its weight in oneDNN's layout and its activation fused.

    ``nn.Conv2d`` rearranges its weight at every call, which for one frame takes up to half of the
    time, and an activation takes another pass over the output. The best layout depends on the
    size of the input (a ResNet50 runs at half speed in that of another one), so the weight is
    packed at the first input of each size. Up to ``SIZES`` layouts are held; all of them give
    the same bits.

    The fused activations turn NaN into a number.

    Args:
        conv: In float32 or bfloat16, in which the output comes too; the bias may be float32.
        size: Height and width of the inputs to come.
        activation: One of ``ACTIVATIONS``, applied to the output.
    """

    def __init__(
        self, conv: nn.Conv2d, size: tuple[int, int], activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.geometry = (list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups)
        self.channels, self.dtype = conv.in_channels, conv.weight.dtype
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.fused: tuple[str, list[float]] = ('none', [])
        if isinstance(activation, nn.Hardtanh):
            self.fused = ('hardtanh', [activation.min_val, activation.max_val])
        elif activation is not None:
            self.fused = ('relu', [])
        self.packed = {size: self._pack(conv.weight.detach(), size)}

    def _pack(self, weight: Tensor, size: tuple[int, int]) -> Tensor:
        return torch._C._nn.mkldnn_reorder_conv2d_weight(
            weight.to_mkldnn(), *self.geometry, [1, self.channels, *size]
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, C', H', W']."""
        size = x.shape[-2:]
        weight = self.packed.get(size)
        if weight is None:
            layouts = list(self.packed.items())
            weight = self._pack(layouts[-1][1].to_dense(), size)
            self.packed = dict([*layouts, (size, weight)][-SIZES:])
        return torch.ops.mkldnn._convolution_pointwise(
            x.to(self.dtype), weight, self.bias, *self.geometry, *self.fused, ''
        )


@dataclass
class _Chain:
    """A convolution, batch norm and activation that pass one tensor on."""

    size: tuple[int, int]  # of the convolution's input
    modules: list[nn.Module] = field(default_factory=list)
    version: int = 0  # of the last output

    @property
    def rank(self) -> int:
        return RANKS.get(type(self.modules[-1]), 0)


def _trace(module: nn.Module, frames: Tensor) -> tuple[Any, list[_Chain]]:
    """Run a module; its outputs, and the chains in it.

    A chain ends before a module that runs more than once, whose instance has a ``forward`` of its
    own, or whose weights are computed (parametrized, pruned).
    """
    state = ModuleState(module)
    calls: Counter[nn.Module] = Counter()
    chains: list[_Chain] = []
    running: dict[nn.Module, _Chain] = {}

    def before(called: nn.Module, inputs: tuple) -> None:
        calls[called] += 1
        if isinstance(called, nn.Conv2d):
            running[called] = _Chain(inputs[0].shape[-2:])
            chains.append(running[called])
        elif inputs and type(called) in RANKS:
            # An attribute of the tensor, as identities are used again.
            chain = getattr(inputs[0], '_chain', None)
            if chain and chain.rank < RANKS[type(called)] and chain.version == inputs[0]._version:
                running[called] = chain

    def after(called: nn.Module, inputs: tuple, output: Any) -> None:
        if called in running:
            output._chain = chain = running.pop(called)
            chain.modules.append(called)
            chain.version = output._version

    handles = [m.register_forward_pre_hook(before) for m in module.modules()]
    handles += [m.register_forward_hook(after) for m in module.modules()]
    outputs = module(frames)
    for handle in handles:
        handle.remove()
    if not state.is_current():
        raise ValueError('its forward pass changes its attributes or weights')

    def is_plain(m: nn.Module) -> bool:
        return (
            calls[m] == 1
            and 'forward' not in vars(m)
            and all(name in m._parameters for name in ('weight', 'bias') if hasattr(m, name))
            and getattr(m, 'running_mean', frames) is not None
        )

    for chain in chains:
        chain.modules = list(takewhile(is_plain, chain.modules))
    return outputs, [chain for chain in chains if chain.modules]


def fold(
    module: nn.Module, frames: Tensor, dtype: torch.dtype | None = None, pack: bool = False
) -> tuple[Any, bool]:
    """Fold batch norms into the convolutions that feed them, in place.

    Args:
        module: In evaluation mode, without hooks.
        frames: [N, C, H, W]; they show which module feeds which.
        dtype: Cast the weights of convolutions and linear layers, to run under autocast.
        pack: Pack the convolutions that oneDNN takes, with the activations they feed.

    Returns:
        The outputs of ``module(frames)`` before, and whether ``module`` was changed.

    Raises:
        ValueError: If the forward pass changes the module.
    """
    outputs, chains = _trace(module, frames)
    new: dict[nn.Module, nn.Module] = {}
    for chain in chains:
        if len(chain.modules) > 1 and type(chain.modules[1]) in NORMS:
            conv, norm = chain.modules[0], chain.modules.pop(1)
            statistics = (norm.running_mean, norm.running_var, norm.eps)
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, *statistics, norm.weight, norm.bias
            )
            new[norm] = nn.Identity()
    if dtype is not None:
        for layer in module.modules():
            if type(layer) in (nn.Linear, *PLAIN):
                layer.weight.data = layer.weight.data.to(dtype)
    for chain in chains if pack else ():
        conv, *activation = chain.modules
        if (
            type(conv) in PLAIN
            and conv.padding_mode == 'zeros'
            and not isinstance(conv.padding, str)
            and can_prepack(conv.weight)
        ):
            new[conv] = PackedConv(conv, chain.size, *activation)
            new.update(dict.fromkeys(activation, nn.Identity()))
    for parent in reversed(list(module.modules())):
        for name, child in parent._modules.items():
            parent._modules[name] = new.get(child, child)
            # 6 us a call less, of 29 for a small convolution.
            if type(child) is ConvModule and 'forward' not in vars(child):
                conv, *others = child._modules.values()
                if type(conv) is PackedConv and {*map(type, others)} <= {nn.Identity}:
                    parent._modules[name] = conv
    return outputs, bool(new) or dtype is not None
