"""The convolution of all frames at once, by the algorithm that ``dispatch.py`` chooses."""

from __future__ import annotations

import torch

from . import convolution, winograd
from .dispatch import are_finite
from .operators import as_geometry, refuse


@torch.library.custom_op(
    'cnnlstm_mm::input_conv',
    mutates_args=(),
    schema='(Tensor x, Tensor weight, Tensor? bias, int[] pads, int[] stride, int[] dilation) '
    '-> Tensor',
)
def input_conv(x, weight, bias, *geometry):
    """Convolve x [M, C, H, W] with weight [out, C, kh, kw]; ``geometry`` is a ``Geometry``."""
    with winograd.rooms():
        z = convolution.forward(x, weight, bias, as_geometry(*geometry), are_finite(x, None))
    return z.contiguous()


@input_conv.register_fake
def _(x, weight, bias, *geometry):
    size = as_geometry(*geometry).output_size(x.shape[-2:], weight.shape[-2:])
    return x.new_empty(len(x), len(weight), *size)


@torch.library.custom_op(
    'cnnlstm_mm::input_conv_backward',
    mutates_args=(),
    schema='(Tensor dz, Tensor x, Tensor weight, bool need_dx, int[] pads, int[] stride, '
    'int[] dilation) -> (Tensor, Tensor)',
)
def input_conv_backward(dz, x, weight, need_dx, *geometry):
    """Gradients of x, which is empty unless needed, and of the weight."""
    g, dz = as_geometry(*geometry), dz.contiguous()
    with winograd.rooms():
        dx = convolution.data_gradient(dz, x, weight, g) if need_dx else x.new_empty(0)
        return dx, convolution.weight_gradient(x, dz, weight, g)


@input_conv_backward.register_fake
def _(dz, x, weight, need_dx, *geometry):
    return torch.empty_like(x) if need_dx else x.new_empty(0), torch.empty_like(weight)


def _save(ctx, inputs, output):
    x, weight, bias, *ctx.geometry = inputs
    ctx.has_bias = bias is not None
    ctx.save_for_backward(x, weight)


def _backward(ctx, dz):
    x, weight = ctx.saved_tensors
    need_dx = ctx.needs_input_grad[0]
    dx, d_weight = input_conv_backward(dz, x, weight, need_dx, *ctx.geometry)
    d_bias = dz.sum((0, 2, 3)) if ctx.has_bias else None
    return dx if need_dx else None, d_weight, d_bias, None, None, None


input_conv.register_autograd(_backward, setup_context=_save)
input_conv_backward.register_autograd(refuse)
