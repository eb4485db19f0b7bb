"""``pointwise.py`` for NVIDIA GPUs: the update and its gradient, a kernel each.

Import this only where Triton is installed. With TRITON_INTERPRET=1 the kernels run on the CPU,
slowly, for tests.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _tanh(x):
    # The difference has no digits left near 0.
    y = x * x
    series = x * (1 + y * (-1 / 3 + y * (2 / 15 + y * (-17 / 315 + y * (62 / 2835)))))
    return tl.where(tl.abs(x) < 0.05, series, 2 * tl.sigmoid(2 * x) - 1)


@triton.jit
def _gate(x, HARD: tl.constexpr):
    if HARD:
        return tl.minimum(tl.maximum(x + 3, 0), 6) / 6
    return tl.sigmoid(x)


@triton.jit
def _slope(gate, HARD: tl.constexpr):
    if HARD:
        return ((gate > 0) & (gate < 1)).to(gate.dtype) / 6
    return gate * (1 - gate)


@triton.jit
def _load(pointer, size, inside, WIDE: tl.constexpr):
    """The four gates of one element."""
    i = tl.load(pointer, inside, 0).to(WIDE)
    f = tl.load(pointer + size, inside, 0).to(WIDE)
    g = tl.load(pointer + 2 * size, inside, 0).to(WIDE)
    return i, f, g, tl.load(pointer + 3 * size, inside, 0).to(WIDE)


@triton.jit
def _store(pointer, size, inside, i, f, g, o):
    tl.store(pointer, i, inside)
    tl.store(pointer + size, f, inside)
    tl.store(pointer + 2 * size, g, inside)
    tl.store(pointer + 3 * size, o, inside)


@triton.jit
def _update(
    z,
    c,
    h_after,
    c_after,
    peephole,
    size,
    total,
    PEEPHOLE: tl.constexpr,
    HARD: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    place = index % size
    gate = z + index // size * 4 * size + place
    i, f, g, o = _load(gate, size, inside, WIDE)
    state = tl.load(c + index, inside, 0).to(WIDE)
    if PEEPHOLE:
        i += tl.load(peephole + place, inside, 0).to(WIDE) * state
        f += tl.load(peephole + size + place, inside, 0).to(WIDE) * state
    i, f, g = _gate(i, HARD), _gate(f, HARD), _tanh(g)
    state = f * state + i * g
    if PEEPHOLE:
        o += tl.load(peephole + 2 * size + place, inside, 0).to(WIDE) * state
    o = _gate(o, HARD)
    _store(gate, size, inside, i, f, g, o)
    tl.store(c_after + index, state, inside)
    tl.store(h_after + index, o * _tanh(state), inside)


@triton.jit
def _update_backward(
    gates,
    cell,
    c_before,
    dh,
    dc,
    dz,
    peephole,
    size,
    total,
    PEEPHOLE: tl.constexpr,
    HARD: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    place = index % size
    offset = index // size * 4 * size + place
    i, f, g, o = _load(gates + offset, size, inside, WIDE)
    tanh_c = _tanh(tl.load(cell + index, inside, 0).to(WIDE))
    before = tl.load(c_before + index, inside, 0).to(WIDE)
    d_h = tl.load(dh + index, inside, 0).to(WIDE)
    d_c = tl.load(dc + index, inside, 0).to(WIDE)
    d_o = d_h * tanh_c * _slope(o, HARD)
    d_c += d_h * o * (1 - tanh_c * tanh_c)
    if PEEPHOLE:
        d_c += d_o * tl.load(peephole + 2 * size + place, inside, 0).to(WIDE)
    d_i = d_c * g * _slope(i, HARD)
    d_f = d_c * before * _slope(f, HARD)
    d_g = d_c * i * (1 - g * g)
    d_c *= f
    if PEEPHOLE:
        d_c += d_i * tl.load(peephole + place, inside, 0).to(WIDE)
        d_c += d_f * tl.load(peephole + size + place, inside, 0).to(WIDE)
    _store(dz + offset, size, inside, d_i, d_f, d_g, d_o)
    tl.store(dc + index, d_c, inside)


def _launch(kernel, tensors: tuple[Tensor, ...], peephole: Tensor | None, hard: bool) -> None:
    c = tensors[1]
    if not c.numel():
        return
    if peephole is not None:
        peephole = peephole.expand(3, *c.shape[1:]).contiguous()
    with torch.cuda.device_of(c):
        kernel[(triton.cdiv(c.numel(), BLOCK),)](
            *tensors,
            c if peephole is None else peephole,
            c[0].numel(),
            c.numel(),
            PEEPHOLE=peephole is not None,
            HARD=hard,
            WIDE=tl.float64 if c.dtype == torch.float64 else tl.float32,
            BLOCK=BLOCK,
        )


def update_(z: Tensor, c: Tensor, peephole: Tensor | None, hard: bool) -> tuple[Tensor, Tensor]:
    """``pointwise.update_``; all tensors dense."""
    h_after, c_after = torch.empty_like(c), torch.empty_like(c)
    _launch(_update, (z, c, h_after, c_after), peephole, hard)
    return h_after, c_after


def update_backward_(
    gates: Tensor,
    cell: Tensor,
    c_before: Tensor,
    dh: Tensor,
    dc: Tensor,
    peephole: Tensor | None,
    hard: bool,
) -> Tensor:
    """``pointwise.update_backward_``; all tensors dense."""
    dz = torch.empty_like(gates)
    _launch(_update_backward, (gates, cell, c_before, dh, dc, dz), peephole, hard)
    return dz


def try_out(device: torch.device) -> None:
    """Runs both kernels once; raises where Triton cannot compile them."""
    z, c = torch.zeros(1, 4, 1, 1, device=device), torch.zeros(1, 1, 1, 1, device=device)
    update_(z, c, None, False)
    update_backward_(z, c, c, c.clone(), c.clone(), None, False)
