"""3x3 convolutions of small frames by Winograd's minimal filtering, F(2x2,
3x3): 16 products for the 36 of a 2x2 tile (Lavin and Gray, "Fast Algorithms
for Convolutional Neural Networks", CVPR 2016).

Frames are so small here that the transforms of all tiles are one matrix each,
from the pixels of a frame to the 16 values of its tiles and back. The products
are 16 matrix products over channels, and so are those of both gradients. Large
temporary tensors are written into rooms that live on: on the CPU, fresh memory
costs as much as the arithmetic on it.
"""

from __future__ import annotations

import functools
import math
import threading
from typing import NamedTuple

import torch
from torch import Tensor

from .geometry import Pair

Pads = tuple[int, int, int, int]

CHUNK = 1 << 23  # values of a chunk of transformed frames
_WEIGHT = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_DATA = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))
_ROOMS = threading.local()


class Transforms(NamedTuple):
    """The matrices for frames of one size.

    Attributes:
        data: pixels to values of the tiles [16 tiles, H W].
        output: products to pixels [H' W', 16 tiles].
        weight: taps to values [16, 9].
        tiles: in a frame.
        size: (H', W').
    """

    data: Tensor
    output: Tensor
    weight: Tensor
    tiles: int
    size: tuple[int, int]


def _axis(size: int, before: int, after: int) -> tuple[Tensor, Tensor]:
    """Of one axis: [4, tiles, size] and [size', 4, tiles]."""
    out = size + before + after - 2
    tiles = -(-out // 2)
    data = torch.zeros(4, tiles, size, dtype=torch.float64)
    output = torch.zeros(out, 4, tiles, dtype=torch.float64)
    for tile in range(tiles):
        for k in range(4):
            if 0 <= 2 * tile + k - before < size:
                data[:, tile, 2 * tile + k - before] = torch.tensor(
                    [row[k] for row in _DATA], dtype=torch.float64
                )
        for k in range(min(2, out - 2 * tile)):
            output[2 * tile + k, :, tile] = torch.tensor(_OUTPUT[k], dtype=torch.float64)
    return data, output


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def transforms(height: int, width: int, pads: Pads, dtype: torch.dtype) -> Transforms:
    """For frames of ``height`` x ``width`` with zeros around them, ``pads``
    being left, right, top, bottom.
    """
    left, right, top, bottom = pads
    (data_h, out_h), (data_w, out_w) = _axis(height, top, bottom), _axis(width, left, right)
    data = torch.einsum('asp,btq->abstpq', data_h, data_w)
    output = torch.einsum('pas,qbt->pqabst', out_h, out_w)
    taps = torch.tensor(_WEIGHT, dtype=torch.float64)
    return Transforms(
        data.flatten(4).flatten(0, 3).to(dtype),
        output.flatten(2).flatten(0, 1).to(dtype),
        torch.einsum('ai,bj->abij', taps, taps).reshape(16, 9).to(dtype),
        out_h.shape[2] * out_w.shape[2],
        (out_h.shape[0], out_w.shape[0]),
    )


def gain(size: Pair, inputs: int, out: int, pads: Pads) -> float:
    """How many times fewer multiply-adds than the plain convolution of frames
    of ``size`` (H, W), the transforms of frames counted; 0 for no output.
    """
    left, right, top, bottom = pads
    height, width = size[0] + top + bottom - 2, size[1] + left + right - 2
    if min(*size, height, width, inputs, out) < 1:
        return 0.0
    products = 16 * -(-height // 2) * -(-width // 2)
    share = size[0] * size[1] / out + height * width / inputs
    return 9 * height * width / (products * (1 + share))


def is_faster(x: Tensor, out: int, kernel: Pair, pads: Pads) -> bool:
    """Whether ``convolution`` and its gradients beat the other ways for x
    [M, in, H, W]: many channels, and frames enough to pay for the transform of
    the weight. 1.4 to 2 times as fast there, on AVX-512.
    """
    return (
        x.device.type == 'cpu'
        and x.dtype == torch.float32
        and kernel == (3, 3)
        and x.shape[1] * out >= 1 << 16
        and x.shape[0] * x.shape[2] * x.shape[3] >= 512
        and gain(x.shape[2:], x.shape[1], out, pads) >= 1.15
    )


def _room(name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Memory [rows, columns] with anything in it, until the next call with
    this name in this thread.
    """
    rooms: dict = _ROOMS.__dict__
    room = rooms.get((name, dtype))
    if room is None or room.numel() < rows * columns:
        with torch.inference_mode(False):
            rooms[name, dtype] = room = torch.empty(rows * columns, dtype=dtype)
    return room[: rows * columns].view(rows, columns)


def _pixels_first(x: Tensor) -> Tensor:
    """[M, C, H, W] to [H W, M C]."""
    return x.permute(2, 3, 0, 1).reshape(-1, x.shape[0] * x.shape[1])


def _chunks(frames: int, tiles: int, channels: int) -> list[slice]:
    size = max(1, CHUNK // (16 * tiles * channels))
    size = math.ceil(frames / math.ceil(frames / size))
    return [slice(k, min(k + size, frames)) for k in range(0, frames, size)]


def _transform(name: str, matrix: Tensor, x: Tensor) -> Tensor:
    """X [M, C, H, W] to [16, tiles M, C]."""
    pixels = _pixels_first(x)
    room = _room(name, len(matrix), pixels.shape[1], x.dtype)
    return torch.mm(matrix, pixels, out=room).view(16, -1, x.shape[1])


def _back(matrix: Tensor, values: Tensor, out: Tensor, bias: Tensor | None) -> None:
    """[16, tiles M, C] to ``out`` [M, C, H, W]."""
    frames, channels, height, width = out.shape
    values = values.view(matrix.shape[1], frames * channels)
    pixels = torch.mm(matrix, values, out=_room('pixels', len(matrix), values.shape[1], out.dtype))
    pixels = pixels.view(height, width, frames, channels)
    if bias is not None:
        pixels += bias
    out.copy_(pixels.permute(2, 3, 0, 1))


def _transformed(weight: Tensor, t: Transforms) -> Tensor:
    """[out, in, 3, 3] to [16, out, in]."""
    out, inputs = weight.shape[:2]
    return torch.mm(
        t.weight, weight.reshape(-1, 9).t(), out=_room('weight', 16, out * inputs, weight.dtype)
    ).view(16, out, inputs)


def _multiply(name: str, a: Tensor, b: Tensor) -> Tensor:
    """[16, n, k] by [16, k, m]."""
    shape = 16, a.shape[1], b.shape[2]
    room = _room(name, 16, shape[1] * shape[2], a.dtype)
    return torch.bmm(a, b, out=room.view(shape))


@torch.library.custom_op('cnnlstm_mm::winograd', mutates_args=())
def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, pads: list[int]) -> Tensor:
    """``F.conv2d(F.pad(x, pads), weight, bias)``.

    Args:
        x: [M, in, H, W] on the CPU, float32 or float64.
        weight: [out, in, 3, 3].
        bias: [out].
        pads: zeros at the left, right, top and bottom.

    Returns:
        [M, out, H', W'].
    """
    out, inputs = weight.shape[:2]
    t = transforms(*x.shape[2:], tuple(pads), x.dtype)
    z = x.new_empty(x.shape[0], out, *t.size)
    weight = _transformed(weight, t).transpose(1, 2)
    for rows in _chunks(x.shape[0], t.tiles, max(inputs, out)):
        values = _transform('data', t.data, x[rows])
        _back(t.output, _multiply('products', values, weight), z[rows], bias)
    return z


@torch.library.custom_op('cnnlstm_mm::winograd_data_gradient', mutates_args=())
def data_gradient(dz: Tensor, weight: Tensor, like: Tensor, pads: list[int]) -> Tensor:
    """Gradient of ``convolution``'s x, in shape and strides ``like`` x."""
    out, inputs = weight.shape[:2]
    t = transforms(*like.shape[2:], tuple(pads), dz.dtype)
    dx = torch.empty_like(like)
    weight = _transformed(weight, t)
    for rows in _chunks(dz.shape[0], t.tiles, max(inputs, out)):
        values = _transform('products', t.output.t(), dz[rows])
        _back(t.data.t(), _multiply('data', values, weight), dx[rows], None)
    return dx


@torch.library.custom_op('cnnlstm_mm::winograd_weight_gradient', mutates_args=())
def weight_gradient(x: Tensor, dz: Tensor, pads: list[int]) -> Tensor:
    """Gradient of ``convolution``'s weight [out, in, 3, 3]."""
    out, inputs = dz.shape[1], x.shape[1]
    t = transforms(*x.shape[2:], tuple(pads), dz.dtype)
    total = _room('weight', 16, out * inputs, dz.dtype).view(16, out, inputs)
    for rows in _chunks(x.shape[0], t.tiles, max(inputs, out)):
        values = _transform('data', t.data, x[rows])
        d_values = _transform('products', t.output.t(), dz[rows])
        torch.baddbmm(total, d_values.transpose(1, 2), values, beta=min(rows.start, 1), out=total)
    return torch.mm(total.view(16, -1).t(), t.weight).view(out, inputs, 3, 3)


@convolution.register_fake
def _(x, weight, bias, pads):
    left, right, top, bottom = pads
    return x.new_empty(
        x.shape[0], weight.shape[0], x.shape[2] + top + bottom - 2, x.shape[3] + left + right - 2
    )


@data_gradient.register_fake
def _(dz, weight, like, pads):
    return torch.empty_like(like)


@weight_gradient.register_fake
def _(x, dz, pads):
    return x.new_empty(dz.shape[1], x.shape[1], 3, 3)


class StepConvolution:
    """A 'same' convolution whose weight is transformed once and used at every
    step; ``convolution.StepConv`` tells the arguments.
    """

    def __init__(
        self,
        weight: Tensor,
        size: tuple[int, int],
        bias: Tensor | None = None,
        *,
        transposed: bool = False,
    ) -> None:
        self.bias, t = bias, transforms(*size, (1, 1, 1, 1), weight.dtype)
        weight = _transformed(weight, t).clone()
        self.into, self.back = t.data, t.output
        if transposed:
            self.into, self.back = t.output.t().contiguous(), t.data.t().contiguous()
            weight = weight.transpose(1, 2)
        self.weight = weight  # [16, out, in]

    def __call__(self, x: Tensor) -> Tensor:
        """[n, in, H, W] to [n, out, H, W]."""
        out = x.new_empty(x.shape[0], self.weight.shape[1], *x.shape[2:])
        values = _transform('data', self.into, x)
        values = _multiply('products', values, self.weight.transpose(1, 2))
        _back(self.back, values, out, self.bias)
        return out
