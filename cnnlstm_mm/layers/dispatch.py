"""Choice of a convolution's algorithm: for each operation the first row of ``TABLE`` that applies.

Where none applies it is PyTorch's own. ``benchmarks/conv_lstm_algorithms.py`` times every
algorithm at the shape that a row names, ``benchmarks/conv_lstm.py`` the layer. The numbers are from
Intel CPUs with AVX-512, and from an AMD EPYC (Zen 4) where ``fast_products`` is False.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from . import winograd
from .geometry import Geometry, Pair

STEPWISE = 1 << 20  # pre-activations of one step, in values
SINGLE = 1 << 18  # values of a weight that is quickly joined with another; a guess


class Problem(NamedTuple):
    """A convolution of [frames, inputs * groups, *size] to [frames, out, *out_size].

    Attributes:
        inputs: channels of one group.
        calls: how many times the same weight is used.
        finite: whether the input is; Winograd's transforms would spread what is not over a frame.
    """

    device: torch.device
    dtype: torch.dtype
    frames: int
    inputs: int
    out: int
    size: Pair
    kernel: Pair
    geometry: Geometry
    calls: int = 1
    finite: bool = True

    @classmethod
    def from_tensors(
        cls, x: Tensor, weight: Tensor, geometry: Geometry, finite: bool = True
    ) -> Problem:
        """Problem of x [M, in, H, W] with ``weight`` [out, in, kh, kw]."""
        out, inputs, *kernel = weight.shape
        size = tuple(x.shape[-2:])
        sizes = len(x), inputs, out, size, tuple(kernel)
        return cls(x.device, x.dtype, *sizes, geometry, finite=finite)

    @property
    def out_size(self) -> Pair:
        """Height and width of the output."""
        return self.geometry.output_size(self.size, self.kernel)

    @property
    def pixels(self) -> int:
        """Of the output, in all frames."""
        return self.frames * self.out_size[0] * self.out_size[1]

    @property
    def cpu_float32(self) -> bool:
        """Whether it is in float32 on a CPU."""
        return self.device.type == 'cpu' and self.dtype == torch.float32

    @property
    def multiplies_fast(self) -> bool:
        """Whether matrix products are as fast here as oneDNN's convolutions."""
        return self.cpu_float32 and fast_products()

    @property
    def unit(self) -> bool:
        """Whether stride and dilation are 1."""
        return self.geometry.stride == self.geometry.dilation == (1, 1)


@functools.cache
def fast_products() -> bool:
    """Whether MKL takes its AVX-512 kernels: on AMD CPUs it has 0.5 to 0.7 of oneDNN's speed."""
    cpuinfo = Path('/proc/cpuinfo')
    names = cpuinfo.read_text()[:2000] if cpuinfo.is_file() else platform.processor()
    return 'AuthenticAMD' not in names


class Row(NamedTuple):
    """An algorithm for an operation, the benchmark of its numbers, and where it applies."""

    operation: str
    algorithm: str
    benchmark: str
    applies: Callable[[Problem], bool]


def _winograd(p: Problem) -> bool:
    return (
        p.cpu_float32
        and p.unit
        and p.kernel == (3, 3)
        and p.frames > 0
        and p.finite
        and p.inputs * p.out >= 1 << 16
        and winograd.gain(p.size, p.inputs, p.out, p.geometry.pads) >= 1.15
    )


def _winograd_of_frames(p: Problem) -> bool:
    # 'valid' frames, whose odd sizes cost oneDNN a fifth of its speed, pay with slow products, too.
    pays = p.multiplies_fast or (p.out_size != p.size and p.inputs >= 512)
    return pays and _winograd_of_weights(p)


def _winograd_of_weights(p: Problem) -> bool:
    return p.frames * p.size[0] * p.size[1] >= 512 and _winograd(p)


def _winograd_of_steps(p: Problem) -> bool:
    return p.calls > 1 and p.multiplies_fast and _winograd(p)


def _rows(p: Problem) -> bool:
    taps, pixels = p.kernel[0] * p.kernel[1], p.out_size[0] * p.out_size[1]
    wide = p.kernel[1] * p.inputs >= 512 and p.out >= 256
    many = pixels <= 400 and p.pixels >= 512
    return p.multiplies_fast and p.geometry.dilation == (1, 1) and taps > 1 and wide and many


def _columns(p: Problem) -> bool:
    large = p.out * p.inputs * p.kernel[0] * p.kernel[1] >= 1 << 20
    return p.cpu_float32 and large and 0 < p.pixels <= 128


def _taps(p: Problem) -> bool:
    return p.cpu_float32 and p.inputs >= 384 and p.out_size[0] * p.out_size[1] <= 400


def _prepacked(p: Problem) -> bool:
    return p.calls > 1 and p.frames > 0 and can_prepack(p)


def _is_joinable(p: Problem) -> bool:
    """Whether the input's convolution is like the state's, so that one can do both."""
    odd = p.kernel[0] % 2 and p.kernel[1] % 2
    return bool(p.device.type == 'cpu' and odd and p.unit and p.out_size == p.size)


def _stepwise(p: Problem) -> bool:
    return p.pixels * p.out >= STEPWISE and _is_joinable(p)


def _single(p: Problem) -> bool:
    values = p.out * p.inputs * p.kernel[0] * p.kernel[1]
    return p.frames > 0 and values <= SINGLE and _is_joinable(p)


TABLE = (
    Row('forward', 'winograd', 'input, 7x7', _winograd_of_frames),
    # One matrix product a row of the kernel: a fifth to a half faster than oneDNN.
    Row('forward', 'rows', 'input, 3x5 taps', _rows),
    # One that leaves the weight in its layout: few pixels, a large weight that oneDNN would copy.
    Row('forward', 'columns', 'single step', _columns),
    Row('data_gradient', 'winograd', 'input, 7x7', _winograd_of_frames),
    # oneDNN has half of its speed here: both pay with slow products, too.
    Row('weight_gradient', 'winograd', 'input, 7x7', _winograd_of_weights),
    # One matrix product a tap: up to twice as fast as oneDNN.
    Row('weight_gradient', 'taps', 'input, 3x5 taps', _taps),
    # Few rows make a slow product: the transforms pay then only where oneDNN is slow, too.
    Row(
        'step',
        'winograd',
        'step',
        lambda p: p.frames * p.size[0] * p.size[1] >= 98 and _winograd_of_steps(p),
    ),
    Row('transposed_step', 'winograd', 'step', _winograd_of_steps),
    # oneDNN otherwise rearranges the weight at each call, which on small frames costs as much as
    # the product.
    Row('step', 'prepacked', 'step', _prepacked),
    Row('transposed_step', 'prepacked', 'step', _prepacked),
    # cat(x, h) is convolved step by step, rather than x for all steps at once, where the
    # pre-activations of one step do not fit into the caches.
    Row('layer', 'stepwise', 'conv_lstm.py: large frame', _stepwise),
    # So is a single step from a state, unless the weights are large, which must be joined for it.
    Row('single_step', 'stepwise', 'conv_lstm.py: large frame', _stepwise),
    Row('single_step', 'stepwise', 'conv_lstm.py: small step', _single),
)


def choose(operation: str, problem: Problem) -> str:
    """The algorithm for ``problem``: that of the first row that applies, or 'torch'."""
    return _choose(operation, problem, fast_products(), torch.backends.mkldnn.enabled, STEPWISE)


@functools.lru_cache(maxsize=1024)
def _choose(operation: str, problem: Problem, *changeable: object) -> str:
    rows = (row for row in TABLE if row.operation == operation)
    return next((row.algorithm for row in rows if row.applies(problem)), 'torch')


def are_finite(*tensors: Tensor | None) -> bool:
    """Whether no value is infinite or NaN, by the sums; True on a GPU, which need not know."""
    return all(t is None or t.device.type != 'cpu' or math.isfinite(t.sum()) for t in tensors)


def can_prepack(weight: Tensor | Problem) -> bool:
    """Whether oneDNN can take a weight of this device and dtype once and for all in its layout."""
    if weight.device.type != 'cpu' or not torch.backends.mkldnn.is_available():
        return False
    return (
        torch.backends.mkldnn.enabled
        and hasattr(torch.ops.mkldnn, '_convolution_pointwise')
        and hasattr(torch._C._nn, 'mkldnn_reorder_conv2d_weight')
        and (
            weight.dtype == torch.float32
            or (weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
        )
    )
