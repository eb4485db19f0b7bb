"""Sizes and padding of 'same' and 'valid' convolutions, as Keras counts them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from cnnlstm_mm.options import MAX_INT

Pair = tuple[int, int]


def pair(value: int | tuple[int, int], name: str) -> Pair:
    """Returns ``value`` as two positive ints.

    Raises:
        ValueError: if it is neither a positive int nor two of them.
    """
    both = value if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(
        isinstance(v, int) and v is not True and 0 < v <= MAX_INT for v in both
    ):
        raise ValueError(f'{name} must be a positive int or a pair of them, got {value!r}')
    return both[0], both[1]


def output_size(
    size: Pair, kernel: Pair, padding: str = 'same', stride: Pair = (1, 1), dilation: Pair = (1, 1)
) -> Pair:
    """Height and width after a convolution.

    Args:
        size: height and width before it, in pixels.
        padding: 'same' gives ceil(size / stride), 'valid' only what fits whole
            kernels.

    Raises:
        ValueError: if a 'valid' kernel does not fit into the frame.
    """
    if padding == 'same':
        return -(-size[0] // stride[0]), -(-size[1] // stride[1])
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation))
    if any(s < e for s, e in zip(size, extent)):
        raise ValueError(
            f"a 'valid' kernel covers {extent[0]} x {extent[1]} pixels, but "
            f'the frame has only {size[0]} x {size[1]}: '
            "use padding='same', a smaller kernel_size or larger frames"
        )
    return tuple((s - e) // st + 1 for s, e, st in zip(size, extent, stride))


def same_padding(
    size: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    """Pixels before and after (left, right, top, bottom); an odd one goes
    after, as in TensorFlow.
    """
    pads = []
    for s, k, st, d in zip(reversed(size), reversed(kernel), reversed(stride), reversed(dilation)):
        total = max((-(-s // st) - 1) * st + (k - 1) * d + 1 - s, 0)
        pads += [total // 2, total - total // 2]
    return tuple(pads)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: str = 'same',
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Tensor:
    """Keras's convolution of ``x`` [N, C, H, W]; depthwise if ``weight`` has
    one input channel and ``x`` several.
    """
    groups = x.shape[1] // weight.shape[1]
    if padding == 'valid':
        return F.conv2d(x, weight, bias, stride, 0, dilation, groups)
    left, right, top, bottom = same_padding(x.shape[-2:], weight.shape[-2:], stride, dilation)
    if left != right or top != bottom:
        return F.conv2d(
            F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups
        )
    return F.conv2d(x, weight, bias, stride, (top, left), dilation, groups)
