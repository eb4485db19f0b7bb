"""Sizes and padding of 'same' and 'valid' convolutions, as Keras counts them."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from cnnlstm_mm.options import MAX_INT

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # left, right, top, bottom


class Geometry(NamedTuple):
    """Zeros around the input, stride and dilation of a convolution."""

    pads: Pads = (0, 0, 0, 0)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)

    def output_size(self, size: Pair, kernel: Pair) -> Pair:
        """Height and width of the output for inputs of ``size``."""
        left, right, top, bottom = self.pads
        padded = size[0] + top + bottom, size[1] + left + right
        return tuple(
            (s - (k - 1) * d - 1) // st + 1
            for s, k, st, d in zip(padded, kernel, self.stride, self.dilation)
        )


def pair(value: int | tuple[int, int], name: str) -> Pair:
    """Returns ``value`` as two positive ints.

    Raises:
        ValueError: if it is neither a positive int nor two of them.
    """
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(
        isinstance(v, int) and v is not True and 0 < v <= MAX_INT for v in both
    ):
        raise ValueError(f'{name}: expected a positive int or a pair of them, got {value!r}')
    return both[0], both[1]


def geometry(
    size: Pair, kernel: Pair, padding: str = 'same', stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> Geometry:
    """The geometry of a convolution of frames of ``size`` (height, width) in pixels.

    'same' gives ceil(size / stride) pixels and puts an odd zero after the frame, as in TensorFlow;
    'valid' gives only what fits whole kernels.

    Raises:
        ValueError: if a 'valid' kernel does not fit into the frame.
    """
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    if padding == 'same':
        needed = [(-(-s // st) - 1) * st + e - s for s, st, e in zip(size, stride, extent)]
        (top, bottom), (left, right) = ((max(n, 0) // 2, -(-max(n, 0) // 2)) for n in needed)
        return Geometry((left, right, top, bottom), stride, dilation)
    if any(s < e for s, e in zip(size, extent)):
        raise ValueError(
            f"expected frames of {extent[0]} x {extent[1]} pixels for a 'valid' kernel, got "
            f"{size[0]} x {size[1]}; fix: padding='same', a smaller kernel_size or larger frames"
        )
    return Geometry((0, 0, 0, 0), stride, dilation)


def symmetric(x: Tensor, pads: Pads) -> tuple[Tensor, Pair]:
    """``x`` and the zeros above and left of it that PyTorch's convolutions are to add.

    Asymmetric zeros, which these do not know, are added here.
    """
    left, right, top, bottom = pads
    if left == right and top == bottom:
        return x, (top, left)
    return F.pad(x, pads), (0, 0)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, g: Geometry | None = None):
    """PyTorch's convolution of ``x`` [N, C, H, W] with geometry ``g``, by default 'same'.

    Depthwise if ``weight`` has one input channel and ``x`` several.
    """
    g = g or geometry(x.shape[-2:], weight.shape[-2:])
    x, padding = symmetric(x, g.pads)
    return F.conv2d(x, weight, bias, g.stride, padding, g.dilation, x.shape[1] // weight.shape[1])
