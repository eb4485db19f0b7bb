"""Channels-last tensors and weights, and their convolution."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def last(x: Tensor) -> Tensor:
    """[..., C, H, W] as dense [..., H, W, C]."""
    return x.movedim(-3, -1).contiguous()


def first(x: Tensor) -> Tensor:
    """[..., H, W, C] as [..., C, H, W], a view."""
    return x.movedim(-1, -3)


def empty(like: Tensor, *shape: int) -> Tensor:
    """Memory for [..., C, H, W] with the channels last."""
    order = torch.empty(*shape[:-3], *shape[-2:], shape[-3], device='meta')
    return like.new_empty_strided(shape, first(order).stride())


def pack(weight: Tensor, gemm: bool, transposed: bool = False) -> Tensor:
    """The recurrent weight [4 F, F, kh, kw] as [rows, kh, kw, columns].

    With ``transposed`` it is that of the data gradient, [F, kh, kw, 4 F], the
    taps turned around; else [4 F, kh, kw, F], for ``gemm`` with the four gates
    of a channel side by side.
    """
    if transposed:
        return weight.flip(2, 3).permute(1, 2, 3, 0).contiguous()
    weight = weight.permute(0, 2, 3, 1)
    if gemm:
        weight = weight.unflatten(0, (4, -1)).transpose(0, 1).flatten(0, 1)
    return weight.contiguous()


def convolution(
    weight: Tensor, kernel: tuple[int, int], transposed: bool = False
) -> Callable[[Tensor], Tensor]:
    """'same' convolution of [n, H, W, in] with a packed weight, to dense [n, H, W, out].

    With ``transposed`` it is the data gradient of the convolution.
    """
    top, left = offsets(kernel, transposed)
    bottom, right = (k - 1 - p for k, p in zip(kernel, (top, left)))
    weight = first(weight)

    def convolve(x: Tensor) -> Tensor:
        x = first(x)
        if (top, left) == (bottom, right):
            return last(F.conv2d(x, weight, padding=(top, left)))
        return last(F.conv2d(F.pad(x, (left, right, top, bottom)), weight))

    return convolve


def offsets(kernel: tuple[int, int], transposed: bool = False) -> tuple[int, int]:
    """Pixels above and to the left that a 'same' convolution sees, or its data gradient."""
    top, left = ((k - 1) // 2 for k in kernel)
    return (kernel[0] - 1 - top, kernel[1] - 1 - left) if transposed else (top, left)
