"""``pointwise.py`` for NVIDIA GPUs: the update and its gradient, a kernel
each.

Import this only where Triton is installed. With TRITON_INTERPRET=1 the kernels
run on the CPU, slowly, for tests.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .pointwise import smallest_cell

BLOCK = 1024


@triton.jit
def _tanh(x):
    # Near 0 the difference has no digits left, but h / tanh(c) is to give o.
    y = x * x
    series = x * (1 + y * (-1 / 3 + y * (2 / 15 + y * (-17 / 315 + y * (62 / 2835)))))
    return tl.where(tl.abs(x) < 0.05, series, 2 * tl.sigmoid(2 * x) - 1)


@triton.jit
def _gate(x, HARD: tl.constexpr):
    if HARD:
        return tl.minimum(tl.maximum(x + 3, 0), 6) / 6
    return tl.sigmoid(x)


@triton.jit
def _gate_slope(gate, HARD: tl.constexpr):
    if HARD:
        return ((gate > 0) & (gate < 1)).to(gate.dtype) / 6
    return gate * (1 - gate)


@triton.jit
def _update(
    z,
    c,
    h,
    gates,
    cell,
    peephole,
    size,
    total,
    least,
    KEEP: tl.constexpr,
    PEEPHOLE: tl.constexpr,
    HARD: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    place = index % size
    gate = z + index // size * 4 * size + place
    i = tl.load(gate, inside, 0).to(WIDE)
    f = tl.load(gate + size, inside, 0).to(WIDE)
    g = _tanh(tl.load(gate + 2 * size, inside, 0).to(WIDE))
    o = tl.load(gate + 3 * size, inside, 0).to(WIDE)
    state = tl.load(c + index, inside, 0).to(WIDE)
    if PEEPHOLE:
        i += tl.load(peephole + place, inside, 0).to(WIDE) * state
        f += tl.load(peephole + size + place, inside, 0).to(WIDE) * state
    i = _gate(i, HARD)
    f = _gate(f, HARD)
    state = f * state + i * g
    if KEEP:
        state = tl.where(tl.abs(state) < least, least, state)
        kept = gates + index // size * 2 * size + place
        tl.store(kept, i, inside)
        tl.store(kept + size, f, inside)
        tl.store(cell + index, state, inside)
    if PEEPHOLE:
        o += tl.load(peephole + 2 * size + place, inside, 0).to(WIDE) * state
    o = _gate(o, HARD)
    tl.store(c + index, state, inside)
    tl.store(h + index, o * _tanh(state), inside)


@triton.jit
def _update_backward(
    gates,
    cell,
    c_before,
    h,
    dh,
    dc,
    dz,
    peephole,
    size,
    total,
    least,
    h_stride,
    dz_stride,
    PEEPHOLE: tl.constexpr,
    HARD: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = index < total
    place, sample = index % size, index // size
    gate = gates + sample * 2 * size + place
    i = tl.load(gate, inside, 0).to(WIDE)
    f = tl.load(gate + size, inside, 0).to(WIDE)
    state = tl.load(cell + index, inside, 1).to(WIDE)
    before = tl.load(c_before + index, inside, 0).to(WIDE)
    tanh_c = _tanh(state)
    o = tl.load(h + sample * h_stride + place, inside, 0).to(WIDE) / tanh_c
    g = (state - f * before) / tl.maximum(i, least)
    g = tl.minimum(tl.maximum(g, -1), 1)
    d_h = tl.load(dh + index, inside, 0).to(WIDE)
    d_c = tl.load(dc + index, inside, 0).to(WIDE)
    d_o = d_h * tanh_c * _gate_slope(o, HARD)
    d_c += d_h * o * (1 - tanh_c * tanh_c)
    if PEEPHOLE:
        d_c += d_o * tl.load(peephole + 2 * size + place, inside, 0).to(WIDE)
    d_i = d_c * g * _gate_slope(i, HARD)
    d_f = d_c * before * _gate_slope(f, HARD)
    d_g = d_c * i * (1 - g * g)
    d_c *= f
    if PEEPHOLE:
        d_c += d_i * tl.load(peephole + place, inside, 0).to(WIDE)
        d_c += d_f * tl.load(peephole + size + place, inside, 0).to(WIDE)
    out = dz + sample * dz_stride + place
    tl.store(out, d_i, inside)
    tl.store(out + size, d_f, inside)
    tl.store(out + 2 * size, d_g, inside)
    tl.store(out + 3 * size, d_o, inside)
    tl.store(dc + index, d_c, inside)


def _launch(
    kernel,
    tensors: tuple[Tensor, ...],
    peephole: Tensor | None,
    hard: bool,
    *strides: int,
    **constants: bool,
) -> None:
    c = tensors[1]
    if not c.numel():
        return
    if peephole is not None:
        peephole = peephole.expand(3, *c.shape[1:]).contiguous()
    kernel[(triton.cdiv(c.numel(), BLOCK),)](
        *tensors,
        c if peephole is None else peephole,
        c[0].numel(),
        c.numel(),
        smallest_cell(c.dtype),
        *strides,
        PEEPHOLE=peephole is not None,
        HARD=hard,
        WIDE=tl.float64 if c.dtype == torch.float64 else tl.float32,
        BLOCK=BLOCK,
        **constants,
    )


def update_(
    z: Tensor,
    c: Tensor,
    h: Tensor,
    peephole: Tensor | None,
    hard: bool,
    gates: Tensor | None = None,
    cell: Tensor | None = None,
) -> None:
    """``pointwise.update_``; all tensors dense."""
    keep = gates is not None
    _launch(
        _update, (z, c, h, gates if keep else z, cell if keep else c), peephole, hard, KEEP=keep
    )


def update_backward_(
    gates: Tensor,
    cell: Tensor,
    c_before: Tensor,
    h: Tensor,
    dh: Tensor,
    dc: Tensor,
    dz: Tensor,
    peephole: Tensor | None,
    hard: bool,
) -> None:
    """``pointwise.update_backward_``; each sample dense in ``h`` and ``dz``,
    all else dense.
    """
    _launch(
        _update_backward,
        (gates, cell, c_before, h, dh, dc, dz),
        peephole,
        hard,
        h.stride(0),
        dz.stride(0),
    )
