"""Convolutions as the time loop needs them: one weight many times, and weight
gradients over all steps at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from . import winograd
from .geometry import Pair, same_padding

_POINTWISE = getattr(torch.ops.mkldnn, '_convolution_pointwise', None)
_REORDER = getattr(torch._C._nn, 'mkldnn_reorder_conv2d_weight', None)


def can_prepack(weight: Tensor) -> bool:
    """Whether oneDNN can take ``weight`` once and for all in its own layout."""
    if (
        weight.device.type != 'cpu'
        or not torch.backends.mkldnn.is_available()
        or None in (_POINTWISE, _REORDER)
    ):
        return False
    return torch.backends.mkldnn.enabled and (
        weight.dtype == torch.float32
        or (weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


def step_conv(
    weight: Tensor,
    shape: tuple[int, ...],
    bias: Tensor | None = None,
    *,
    transposed: bool = False,
    prepack: bool = True,
) -> StepConv | winograd.StepConvolution:
    """The fastest ``StepConv`` for these shapes; arguments as there."""
    # Few rows make a slow product: the transforms pay then only where oneDNN
    # is slow, too, in the transposed convolution.
    frame = weight.new_empty(1).expand(512, weight.shape[1], *shape[-2:])
    if (
        prepack
        and winograd.is_faster(frame, weight.shape[0], tuple(weight.shape[-2:]), (1, 1, 1, 1))
        and (transposed or shape[0] * shape[-2] * shape[-1] >= 98)
    ):
        return winograd.StepConvolution(weight, tuple(shape[-2:]), bias, transposed=transposed)
    return StepConv(weight, shape, bias, transposed=transposed, prepack=prepack)


class StepConv:
    """A 'same' convolution, stride 1, whose weight is laid out once and used
    at every step.

    oneDNN otherwise rearranges the weight at each call, which costs as much as
    the product for small frames.

    Args:
        weight: [out, in, kh, kw].
        shape: of the largest input or output to come, [N, any, H, W].
        bias: [out].
        transposed: computes the gradient with respect to the input instead:
            [N, out, H, W] to [N, in, H, W].
        prepack: whether to lay out the weight; pays for many calls on small
            frames.
    """

    def __init__(
        self,
        weight: Tensor,
        shape: tuple[int, ...],
        bias: Tensor | None = None,
        *,
        transposed: bool = False,
        prepack: bool = True,
    ) -> None:
        kernel = tuple(weight.shape[-2:])
        left, right, top, bottom = same_padding(shape[-2:], kernel, (1, 1), (1, 1))
        if transposed:
            weight = weight.flip(2, 3).transpose(0, 1).contiguous()
            left, right, top, bottom = right, left, bottom, top
        self.pad = None if left == right and top == bottom else (left, right, top, bottom)
        self.padding = (top, left) if self.pad is None else (0, 0)
        self.prepacked = prepack and shape[0] > 0 and can_prepack(weight)
        self.weight, self.bias = weight, bias
        if self.prepacked:
            height, width = (
                s if self.pad is None else s + k - 1 for s, k in zip(shape[-2:], kernel)
            )
            self.weight = _REORDER(
                weight.to_mkldnn(),
                self.padding,
                (1, 1),
                (1, 1),
                1,
                [shape[0], weight.shape[1], height, width],
            )

    def __call__(self, x: Tensor) -> Tensor:
        """[n, in, H, W] to [n, out, H, W], n at most the batch of ``shape``."""
        if self.pad is not None:
            x = F.pad(x, self.pad)
        if self.prepacked:
            return _POINTWISE(
                x, self.weight, self.bias, self.padding, (1, 1), (1, 1), 1, 'none', [], ''
            )
        return conv_forward(x, self.weight, self.bias, (1, 1), self.padding, (1, 1))


def conv_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """``F.conv2d``; on the CPU as matrix products where these are faster: by
    Winograd's way for 3x3 taps, many channels and small frames, and one a row
    of the kernel for other taps; one that leaves the weight be, for few pixels
    and a large weight.
    """
    top, left = padding
    if stride == dilation == (1, 1) and winograd.is_faster(
        x, weight.shape[0], tuple(weight.shape[-2:]), (left, left, top, top)
    ):
        return winograd.convolution(x, weight, bias, [left, left, top, top])
    height, width = (
        ((s + 2 * p - d * (k - 1) - 1) // st) + 1
        for s, p, d, k, st in zip(x.shape[-2:], padding, dilation, weight.shape[-2:], stride)
    )
    if dilation == (1, 1) and rows_are_faster(x, weight, height, width):
        return conv_by_rows(x, weight.permute(0, 2, 3, 1).contiguous(), bias, stride, padding)
    if (
        x.device.type != 'cpu'
        or x.dtype != torch.float32
        or x.shape[0] * height * width > 128
        or (weight.numel() < 1 << 20)
        or not x.shape[0]
    ):
        return F.conv2d(x, weight, bias, stride, padding, dilation)
    columns = F.unfold(
        x, tuple(weight.shape[-2:]), dilation, padding, stride
    )  # [N, C kh kw, H' W']
    columns = columns.transpose(0, 1).flatten(1).t()  # [N H' W', C kh kw]
    z = F.linear(columns, weight.flatten(1), bias)  # [N H' W', out]
    return z.view(x.shape[0], height, width, -1).permute(0, 3, 1, 2).contiguous()


def rows_are_faster(x: Tensor, weight: Tensor, height: int, width: int) -> bool:
    """Whether ``conv_by_rows`` beats oneDNN's kernels: by a fifth to a half
    for such shapes, on AVX-512.
    """
    out, inputs, rows, columns = weight.shape
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and rows * columns > 1
        and columns * inputs >= 512
        and out >= 256
        and height * width <= 400
        and x.shape[0] * height * width >= 512
    )


def conv_by_rows(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
) -> Tensor:
    """A convolution as one matrix product a row of the kernel.

    With the channels last, what a row of the kernel covers lies in one piece,
    so that each product sums over its taps and channels at once.

    Args:
        x: [M, in, H, W].
        weight: [out, kh, kw, in], dense.
        bias: [out].
        stride: of the output.
        padding: zeros above and below, left and right of x.
    """
    out, rows, columns, inputs = weight.shape
    pads = (0, 0, padding[1], padding[1], padding[0], padding[0])
    x = F.pad(x.permute(0, 2, 3, 1), pads).contiguous()  # [M, H, W, in]
    height = (x.shape[1] - rows) // stride[0] + 1
    width = (x.shape[2] - columns) // stride[1] + 1
    covered = columns * inputs
    shape = (x.shape[0], height, width, covered)
    strides = (x.stride(0), stride[0] * x.stride(1), stride[1] * x.stride(2), 1)
    weight = weight.flatten(1)  # [out, kh kw in]
    z = None
    for row in range(rows):
        patches = x.as_strided(shape, strides, row * x.stride(1)).reshape(
            -1, covered
        )  # [M H' W', kw in]
        taps = weight[:, row * covered : (row + 1) * covered].t()
        if z is not None:
            z.addmm_(patches, taps)
        elif bias is None:
            z = torch.mm(patches, taps)
        else:
            z = torch.addmm(bias, patches, taps)
    return z.view(*shape[:3], out).permute(0, 3, 1, 2).contiguous()


def weight_gradient(
    x: Tensor,
    dz: Tensor,
    kernel: Pair,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Tensor:
    """Gradient of a convolution's weight [out, in, kh, kw].

    Args:
        x: the convolution's input [M, in, H, W].
        dz: gradient of its output [M, out, H', W'].
        pads: zeros around x (left, right, top, bottom).
    """
    left, right, top, bottom = pads
    if stride == dilation == (1, 1) and winograd.is_faster(x, dz.shape[1], kernel, pads):
        return winograd.weight_gradient(x, dz, list(pads))
    if (
        x.device.type != 'cpu'
        or x.dtype != torch.float32
        or x.shape[1] < 384
        or dz.shape[-1] * dz.shape[-2] > 400
    ):
        if left != right or top != bottom:
            x, left, top = F.pad(x, pads), 0, 0
        weight = x.new_empty(dz.shape[1], x.shape[1], *kernel)
        return torch.ops.aten.convolution_backward(
            dz,
            x,
            weight,
            None,
            stride,
            (top, left),
            dilation,
            False,
            (0, 0),
            1,
            (False, True, False),
        )[1]
    # Many channels on a small frame: one matrix product a tap is up to twice
    # as fast as oneDNN's kernel.
    height, width = dz.shape[-2:]
    x = F.pad(x, pads).permute(0, 2, 3, 1).contiguous()  # [M, H, W, in]
    dz = dz.transpose(0, 1).flatten(1)  # [out, M H' W']
    weight = x.new_empty(*kernel, dz.shape[0], x.shape[3])
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            rows = slice(a * dilation[0], a * dilation[0] + (height - 1) * stride[0] + 1, stride[0])
            columns = slice(
                b * dilation[1], b * dilation[1] + (width - 1) * stride[1] + 1, stride[1]
            )
            torch.mm(dz, x[:, rows, columns].reshape(-1, x.shape[3]), out=weight[a, b])
    return weight.permute(2, 3, 0, 1).contiguous()


def data_gradient(
    dz: Tensor, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
) -> Tensor:
    """Gradient of a convolution's input, as x [M, in, H, W]; dz [M, out, H',
    W'].
    """
    top, left = padding
    pads = left, left, top, top
    if stride == dilation == (1, 1) and winograd.is_faster(
        x, weight.shape[0], tuple(weight.shape[-2:]), pads
    ):
        return winograd.data_gradient(dz, weight, x, list(pads))
    return torch.ops.aten.convolution_backward(
        dz, x, weight, None, stride, padding, dilation, False, (0, 0), 1, (True, False, False)
    )[0]


class _Convolution(torch.autograd.Function):
    """A convolution whose gradients are those above."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, dilation):
        ctx.save_for_backward(x, weight)
        ctx.has_bias, ctx.geometry = bias is not None, (stride, padding, dilation)
        return conv_forward(x, weight, bias, stride, padding, dilation)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dz):
        x, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.geometry
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = data_gradient(dz, x, weight, stride, padding, dilation)
        if ctx.needs_input_grad[1]:
            pads = (padding[1], padding[1], padding[0], padding[0])
            dw = weight_gradient(
                x, dz.contiguous(), tuple(weight.shape[-2:]), pads, stride, dilation
            )
        if ctx.has_bias and ctx.needs_input_grad[2]:
            db = dz.sum((0, 2, 3))
        return dx, dw, db, None, None, None


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: str = 'same',
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Tensor:
    """``geometry.conv2d`` with a faster backward, which cannot be
    differentiated again.
    """
    pads = (
        same_padding(x.shape[-2:], weight.shape[-2:], stride, dilation)
        if padding == 'same'
        else (0, 0, 0, 0)
    )
    left, right, top, bottom = pads
    if left != right or top != bottom:
        x, left, top = F.pad(x, pads), 0, 0
    return _Convolution.apply(x, weight, bias, stride, (top, left), dilation)
