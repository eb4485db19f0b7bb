"""Convolutions and their gradients, each by the algorithm that ``dispatch.py`` chooses."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import winograd
from .dispatch import Problem, choose
from .geometry import Geometry, Pair, conv2d, geometry, symmetric


def forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry, finite: bool = True
) -> Tensor:
    """The convolution of x [M, in, H, W] with ``weight`` [out, in / groups, kh, kw]."""
    algorithm = choose('forward', Problem.from_tensors(x, weight, g, finite))
    if algorithm == 'torch':
        return conv2d(as_weight_lies(x, weight), weight, bias, g)
    ways = dict(winograd=winograd.convolution, rows=by_rows, columns=by_columns)
    return ways[algorithm](x, weight, bias, g)


def data_gradient(dz: Tensor, x: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    """Gradient of x, in its shape and strides; dz is that of the output [M, out, H', W']."""
    if choose('data_gradient', Problem.from_tensors(x, weight, g)) == 'winograd':
        return winograd.data_gradient(dz, x, weight, g)
    padded, padding = symmetric(x, g.pads)
    lies = as_weight_lies(padded, weight, copy=False)
    dx = _gradient(dz, lies, weight, g, padding, 0)
    dx = dx if padded is x else F.pad(dx, [-zeros for zeros in g.pads])
    return dx if lies is padded else torch.empty_like(x).copy_(dx)


def weight_gradient(x: Tensor, dz: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    """Gradient of ``weight``; dz is that of the output [M, out, H', W']."""
    algorithm = choose('weight_gradient', Problem.from_tensors(x, weight, g))
    if algorithm == 'torch':
        x, padding = symmetric(as_weight_lies(x, weight), g.pads)
        return _gradient(dz, x, weight, g, padding, 1)
    ways = dict(winograd=winograd.weight_gradient, taps=weight_gradient_by_taps)
    return ways[algorithm](x, dz, weight, g)


def as_weight_lies(x: Tensor, weight: Tensor, copy: bool = True) -> Tensor:
    """``x`` with its pixels last on a CPU, as ``weight`` has its taps.

    For an x with the channels last PyTorch rearranges the weight at every call, which may be larger
    than x, and the loop would meet both orders at every step.

    Args:
        x: [M, in, H, W].
        weight: [out, in / groups, kh, kw].
        copy: whether the values count; else only shape and strides.
    """
    taps, inputs = weight.shape[2] * weight.shape[3], weight.shape[1]
    if x.device.type != 'cpu' or x.is_contiguous() or taps == 1 or inputs == 1:
        return x
    return x.contiguous() if copy else x.new_empty(x.shape)


def _gradient(dz, x, weight, g, padding, which) -> Tensor:
    """PyTorch's gradient of x (0) or of ``weight`` (1)."""
    mask = which == 0, which == 1, False
    groups = x.shape[1] // weight.shape[1]
    args = g.stride, padding, g.dilation, False, (0, 0), groups, mask
    return torch.ops.aten.convolution_backward(dz, x, weight, None, *args)[which]


def by_columns(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """``forward`` as one matrix product over taps and channels, the weight as it lies."""
    size = g.output_size(x.shape[-2:], weight.shape[-2:])
    x, padding = symmetric(x, g.pads)
    columns = F.unfold(x, weight.shape[-2:], g.dilation, padding, g.stride)  # [M, in kh kw, H' W']
    columns = columns.transpose(0, 1).flatten(1).t()  # [M H' W', in kh kw]
    z = F.linear(columns, weight.flatten(1), bias)  # [M H' W', out]
    return z.view(len(x), *size, -1).permute(0, 3, 1, 2).contiguous()


def by_rows(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """``forward`` as one matrix product a row of the kernel.

    With the channels last, what a row of the kernel covers lies in one piece, so that each product
    sums over its taps and channels at once.
    """
    height, width = g.output_size(x.shape[-2:], weight.shape[-2:])
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, *g.pads)).contiguous()  # [M, H, W, in]
    weight = weight.permute(2, 0, 3, 1).contiguous().flatten(2)  # [kh, out, kw in]
    shape = len(x), height, width, weight.shape[2]
    strides = x.stride(0), g.stride[0] * x.stride(1), g.stride[1] * x.stride(2), 1
    z = None
    for row, taps in enumerate(weight.transpose(1, 2)):
        patches = x.as_strided(shape, strides, row * x.stride(1))
        patches = patches.reshape(-1, shape[3])  # [M H' W', kw in]
        if z is not None:
            z.addmm_(patches, taps)
        else:
            z = torch.mm(patches, taps) if bias is None else torch.addmm(bias, patches, taps)
    return z.view(*shape[:3], -1).permute(0, 3, 1, 2).contiguous()


def weight_gradient_by_taps(x: Tensor, dz: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    """``weight_gradient`` as one matrix product a tap."""
    (height, width), (out, inputs, *kernel) = dz.shape[-2:], weight.shape
    x = F.pad(x, g.pads).permute(0, 2, 3, 1).contiguous()  # [M, H, W, in]
    dz = dz.transpose(0, 1).flatten(1)  # [out, M H' W']
    gradient = x.new_empty(*kernel, out, inputs)

    def covered(tap: int, axis: int, size: int) -> slice:
        first = tap * g.dilation[axis]
        return slice(first, first + (size - 1) * g.stride[axis] + 1, g.stride[axis])

    for a in range(kernel[0]):
        for b in range(kernel[1]):
            pixels = x[:, covered(a, 0, height), covered(b, 1, width)].reshape(-1, inputs)
            torch.mm(dz, pixels, out=gradient[a, b])
    return gradient.permute(2, 3, 0, 1).contiguous()


def step_conv(
    weight: Tensor,
    batch: int,
    size: Pair,
    bias: Tensor | None = None,
    *,
    groups: int = 1,
    transposed: bool = False,
    calls: int = 1,
    finite: bool = True,
) -> Callable[[Tensor], Tensor]:
    """A 'same' convolution with stride 1 whose weight is laid out once and used at every step.

    Args:
        weight: [out, in / groups, kh, kw].
        batch: the most samples to come.
        size: height and width of the frames.
        bias: [out].
        groups: of channels.
        transposed: computes the gradient with respect to the input instead: [N, out, H, W] to
            [N, in, H, W].
        calls: how many times it will be called.
        finite: whether all inputs will be.

    Returns:
        From [n, in, H, W] to [n, out, H, W].
    """
    size, kernel = tuple(size), tuple(weight.shape[-2:])
    g, (out, inputs) = geometry(size, kernel), weight.shape[:2]
    sizes = batch, inputs, out, size, kernel
    problem = Problem(weight.device, weight.dtype, *sizes, g, calls, finite)
    algorithm = choose('transposed_step' if transposed else 'step', problem)
    if algorithm == 'winograd':
        return winograd.step(weight, size, bias, transposed=transposed)
    if transposed:
        left, right, top, bottom = g.pads
        g = Geometry((right, left, bottom, top))
        weight = weight.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
        weight = weight.contiguous()
    if algorithm == 'torch':
        return lambda x: forward(x, weight, bias, g, finite)
    example = weight.new_empty(1).expand(batch, groups * weight.shape[1], *size)
    example, padding = symmetric(example, g.pads)
    args = padding, (1, 1), (1, 1), groups
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
        weight.to_mkldnn(), *args, list(example.shape)
    )
    convolve = torch.ops.mkldnn._convolution_pointwise
    return lambda x: convolve(symmetric(x, g.pads)[0], packed, bias, *args, 'none', [], '')
