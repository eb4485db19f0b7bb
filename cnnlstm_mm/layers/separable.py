"""A depthwise convolution, then a 1x1 one, as an operator that keeps only its input for backward.

It goes through the frames in chunks that fit into the caches, with the channels last, which
depthwise convolutions take as they lie; backward computes what is between the two again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from . import convolution
from .geometry import Geometry, conv2d
from .operators import as_geometry, refuse

CHUNK = 1 << 20  # values of the input
POINT = Geometry()


def plain(x: Tensor, depth: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """The two convolutions of x [M, C, H, W].

    Args:
        x: the input.
        depth: [C, 1, kh, kw].
        weight: [out, C, 1, 1].
        bias: [out].
        g: geometry of the depthwise convolution.

    Returns:
        [M, out, H', W'].
    """
    return F.conv2d(conv2d(x, depth, None, g), weight, bias)


def separable(x: Tensor, depth: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """``plain`` by the operator."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return _operator(x, depth, weight, bias, *g)
    return _forward(x, depth, weight, bias, g)


def _chunks(x: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows of ``x``, and these with the channels last."""
    size = max(1, CHUNK // max(1, x[:1].numel()))
    for first in range(0, len(x), size):
        rows = slice(first, first + size)
        yield rows, _last(x[rows])


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _empty(x: Tensor, depth: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    return x.new_empty(len(x), len(weight), *g.output_size(x.shape[2:], depth.shape[2:]))


def _forward(x: Tensor, depth: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    z = _empty(x, depth, weight, g)
    with torch.autocast(x.device.type, enabled=False):
        for rows, frames in _chunks(x):
            between = conv2d(frames, depth, None, g)
            z[rows] = convolution.forward(between, weight, bias, POINT)
    return z


@torch.library.custom_op(
    'cnnlstm_mm::separable',
    mutates_args=(),
    schema='(Tensor x, Tensor depth, Tensor weight, Tensor? bias, int[] pads, int[] stride, '
    'int[] dilation) -> Tensor',
)
def _operator(x, depth, weight, bias, *g):
    return _forward(x, depth, weight, bias, as_geometry(*g))


@_operator.register_fake
def _(x, depth, weight, bias, *g):
    return _empty(x, depth, weight, as_geometry(*g))


@torch.library.custom_op(
    'cnnlstm_mm::separable_backward',
    mutates_args=(),
    schema='(Tensor x, Tensor depth, Tensor weight, Tensor dz, bool need_dx, int[] pads, '
    'int[] stride, int[] dilation) -> (Tensor, Tensor, Tensor)',
)
def _gradients(x, depth, weight, dz, need_dx, *g):
    """Gradients of x (or empty), depth and weight."""
    g, wide = as_geometry(*g), torch.promote_types(weight.dtype, torch.float32)
    dx = torch.empty_like(x) if need_dx else x.new_empty(0)
    d_depth, d_weight = (torch.zeros_like(w, dtype=wide) for w in (depth, weight))
    with torch.autocast(x.device.type, enabled=False):
        for rows, frames in _chunks(x):
            between, d = conv2d(frames, depth, None, g), _last(dz[rows])
            d_weight += convolution.weight_gradient(between, d, weight, POINT)
            d_between = convolution.data_gradient(d, between, weight, POINT)
            d_depth += convolution.weight_gradient(frames, d_between, depth, g)
            if need_dx:
                dx[rows] = convolution.data_gradient(d_between, frames, depth, g)
    return dx, d_depth.to(depth.dtype), d_weight.to(weight.dtype)


@_gradients.register_fake
def _(x, depth, weight, dz, need_dx, *g):
    dx = torch.empty_like(x) if need_dx else x.new_empty(0)
    return dx, torch.empty_like(depth), torch.empty_like(weight)


def _save(ctx, inputs, output):
    x, depth, weight, bias, *ctx.geometry = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, depth, weight)


def _backward(ctx, dz):
    x, depth, weight = ctx.saved_tensors
    need_dx = ctx.needs_input_grad[0]
    dx, d_depth, d_weight = torch.ops.cnnlstm_mm.separable_backward(
        x, depth, weight, dz, need_dx, *ctx.geometry
    )
    d_bias = dz.sum((0, 2, 3)) if ctx.has_bias else None
    return dx if need_dx else None, d_depth, d_weight, d_bias, None, None, None


_operator.register_autograd(_backward, setup_context=_save)
_gradients.register_autograd(refuse)
