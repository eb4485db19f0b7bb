"""3x3 convolutions of small frames with Winograd's F(2x2, 3x3) algorithm.

16 products for the 36 of a 2x2 tile (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016). Frames are so small here that the transforms of all tiles are one matrix
each, from the pixels of a frame to the 16 values of its tiles and back. The products are 16 matrix
products over channels, and so are those of both gradients.
"""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .geometry import Geometry, Pads, Pair

CHUNK = 1 << 22  # values of a chunk of transformed frames
_WEIGHT = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
_DATA = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_OUTPUT = ((1, 1, 1, 0), (0, 1, -1, -1))
_LOCAL = threading.local()
HUGE_PAGES = {}
if hasattr(mmap, 'MADV_HUGEPAGE'):
    HUGE_PAGES = dict(flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


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
    size: Pair


def _axis(size: int, before: int, after: int) -> tuple[Tensor, Tensor]:
    """Of one axis: [4, tiles, size] and [size', 4, tiles]."""
    out = size + before + after - 2
    tiles = -(-out // 2)
    data = torch.zeros(4, tiles, size, dtype=torch.float64)
    output = torch.zeros(out, 4, tiles, dtype=torch.float64)
    for tile in range(tiles):
        for k in range(4):
            if 0 <= 2 * tile + k - before < size:
                data[:, tile, 2 * tile + k - before] = data.new_tensor([row[k] for row in _DATA])
        for k in range(min(2, out - 2 * tile)):
            output[2 * tile + k, :, tile] = output.new_tensor(_OUTPUT[k])
    return data, output


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def transforms(size: Pair, pads: Pads, dtype: torch.dtype) -> Transforms:
    """For frames of ``size`` (height, width) with zeros ``pads`` around them."""
    left, right, top, bottom = pads
    (data_h, out_h), (data_w, out_w) = _axis(size[0], top, bottom), _axis(size[1], left, right)
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
    """How many times fewer multiply-adds than the plain convolution of frames of ``size`` (H, W).

    The transforms of frames are counted; 0 for no output.
    """
    left, right, top, bottom = pads
    height, width = size[0] + top + bottom - 2, size[1] + left + right - 2
    if min(*size, height, width, inputs, out) < 1:
        return 0.0
    products = 16 * -(-height // 2) * -(-width // 2)
    share = size[0] * size[1] / out + height * width / inputs
    return 9 * height * width / (products * (1 + share))


@contextlib.contextmanager
def rooms() -> Iterator[None]:
    """Reuses large temporary tensors between the convolutions inside, in this thread."""
    _LOCAL.rooms = {}
    try:
        yield
    finally:
        del _LOCAL.rooms


def _room(name: str, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """Uninitialized [rows, columns], until the next call with this name."""
    found = getattr(_LOCAL, 'rooms', {})
    room = found.get(name)
    if room is None or room.numel() < rows * columns:
        if HUGE_PAGES:  # otherwise the first write to fresh memory takes as long as a product
            memory = mmap.mmap(-1, rows * columns * dtype.itemsize, **HUGE_PAGES)
            with contextlib.suppress(OSError):
                memory.madvise(mmap.MADV_HUGEPAGE)
            room = torch.frombuffer(memory, dtype=dtype)
        else:
            room = torch.empty(rows * columns, dtype=dtype)
        found[name] = room
    return room[: rows * columns].view(rows, columns)


def _chunks(frames: int, tiles: int, channels: int) -> list[slice]:
    size = max(1, CHUNK // (16 * tiles * channels))
    size = math.ceil(frames / math.ceil(frames / size))
    return [slice(k, min(k + size, frames)) for k in range(0, frames, size)]


def _transform(name: str, matrix: Tensor, x: Tensor) -> Tensor:
    """``x`` [M, C, H, W] to [16, tiles M, C]."""
    pixels = x.permute(2, 3, 0, 1).reshape(-1, x.shape[0] * x.shape[1])  # [H W, M C]
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


def _transformed(weight: Tensor, t: Transforms, name: str = 'weight') -> Tensor:
    """[out, in, 3, 3] to [16, out, in]."""
    out, inputs = weight.shape[:2]
    room = _room(name, 16, out * inputs, weight.dtype)
    return torch.mm(t.weight, weight.reshape(-1, 9).t(), out=room).view(16, out, inputs)


def _multiply(name: str, a: Tensor, b: Tensor) -> Tensor:
    """[16, n, k] by [16, k, m]."""
    shape = 16, a.shape[1], b.shape[2]
    room = _room(name, 16, shape[1] * shape[2], a.dtype)
    return torch.bmm(a, b, out=room.view(shape))


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, g: Geometry) -> Tensor:
    """The convolution of x [M, in, H, W], float32 or float64, with ``weight`` [out, in, 3, 3]."""
    out, inputs = weight.shape[:2]
    t = transforms(tuple(x.shape[2:]), g.pads, x.dtype)
    z = x.new_empty(x.shape[0], out, *t.size)
    weight = _transformed(weight, t).transpose(1, 2)
    for rows in _chunks(x.shape[0], t.tiles, max(inputs, out)):
        values = _transform('data', t.data, x[rows])
        _back(t.output, _multiply('products', values, weight), z[rows], bias)
    return z


def data_gradient(dz: Tensor, x: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    """Gradient of ``convolution``'s x, in its shape and strides."""
    out, inputs = weight.shape[:2]
    t = transforms(tuple(x.shape[2:]), g.pads, dz.dtype)
    dx = torch.empty_like(x)
    weight = _transformed(weight, t)
    for rows in _chunks(dz.shape[0], t.tiles, max(inputs, out)):
        values = _transform('products', t.output.t(), dz[rows])
        _back(t.data.t(), _multiply('data', values, weight), dx[rows], None)
    return dx


def weight_gradient(x: Tensor, dz: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    """Gradient of ``convolution``'s weight."""
    out, inputs = weight.shape[:2]
    t = transforms(tuple(x.shape[2:]), g.pads, dz.dtype)
    total = _room('weight', 16, out * inputs, dz.dtype).view(16, out, inputs)
    for rows in _chunks(x.shape[0], t.tiles, max(inputs, out)):
        values = _transform('data', t.data, x[rows])
        d_values = _transform('products', t.output.t(), dz[rows])
        torch.baddbmm(total, d_values.transpose(1, 2), values, beta=min(rows.start, 1), out=total)
    return torch.mm(total.view(16, -1).t(), t.weight).view_as(weight)


def step(
    weight: Tensor, size: Pair, bias: Tensor | None = None, *, transposed: bool = False
) -> Callable[[Tensor], Tensor]:
    """``convolution.step_conv``; the weight is transformed once."""
    t = transforms(size, (1, 1, 1, 1), weight.dtype)
    into, back = t.data, t.output
    weight = _transformed(weight, t, 'step')  # for as long as the rooms
    if transposed:
        into, back = t.output.t().contiguous(), t.data.t().contiguous()
        weight = weight.transpose(1, 2)

    def convolve(x: Tensor) -> Tensor:
        out = x.new_empty(x.shape[0], weight.shape[1], *x.shape[2:])
        values = _multiply('products', _transform('data', into, x), weight.transpose(1, 2))
        _back(back, values, out, bias)
        return out

    return convolve
