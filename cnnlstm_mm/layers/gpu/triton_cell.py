"""The cell's arithmetic as Triton device functions: activations, a step, its gradient.

Tensors lie channels last. ``place`` is a pixel's index in [samples, frames,
pixels], ``values`` the index of (place, channel), ``inside`` the part of the
tile that exists.
"""

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """2 sigmoid(2 x) - 1, by its series near 0, where that difference has no digits left."""
    y = x * x
    series = x * (1 + y * (-1 / 3 + y * (2 / 15 + y * (-17 / 315 + y * (62 / 2835)))))
    return tl.where(tl.abs(x) < 0.05, series, 2 * tl.sigmoid(2 * x) - 1)


@triton.jit
def sigmoid(x, HARD: tl.constexpr):
    """The gates' activation, clip(HARD x + 0.5, 0, 1) if HARD, a slope, is not 0.

    A saturated gate is exactly 1, which an approximate division is not.
    """
    if HARD != 0:
        return tl.minimum(tl.maximum(x + 0.5 / HARD, 0) * HARD, 1)
    return tl.sigmoid(x)


@triton.jit
def slope(gate, HARD: tl.constexpr):
    """The activation's derivative, from its value."""
    if HARD != 0:
        return ((gate > 0) & (gate < 1)).to(gate.dtype) * HARD
    return gate * (1 - gate)


@triton.jit
def load_gates(pointer, place, channel, channels, inside, WIDE: tl.constexpr):
    """i, f, g, o of [places, 4 channels]."""
    first = pointer + place * (4 * channels) + channel
    i = tl.load(first, inside, 0).to(WIDE)
    f = tl.load(first + channels, inside, 0).to(WIDE)
    g = tl.load(first + 2 * channels, inside, 0).to(WIDE)
    o = tl.load(first + 3 * channels, inside, 0).to(WIDE)
    return i, f, g, o


@triton.jit
def store_gates(pointer, place, channel, channels, inside, i, f, g, o):
    """As ``load_gates``, the other way."""
    first = pointer + place * (4 * channels) + channel
    tl.store(first, i, inside)
    tl.store(first + channels, f, inside)
    tl.store(first + 2 * channels, g, inside)
    tl.store(first + 3 * channels, o, inside)


@triton.jit
def cell(
    i, f, g, o, state, peephole, gate_stride, inside, PEEPHOLE: tl.constexpr, HARD: tl.constexpr
):
    """The activations, the next c and h, from the pre-activations and c.

    ``peephole`` points at its values for i.
    """
    if PEEPHOLE:
        i += tl.load(peephole, inside, 0).to(state.dtype) * state
        f += tl.load(peephole + gate_stride, inside, 0).to(state.dtype) * state
    i = sigmoid(i, HARD)
    f = sigmoid(f, HARD)
    g = tanh(g)
    state = f * state + i * g
    if PEEPHOLE:
        o += tl.load(peephole + 2 * gate_stride, inside, 0).to(state.dtype) * state
    o = sigmoid(o, HARD)
    return i, f, g, o, state, o * tanh(state)


@triton.jit
def cell_gradient(
    i,
    f,
    g,
    o,
    before,
    after,
    dh,
    dc,
    peephole,
    gate_stride,
    inside,
    PEEPHOLE: tl.constexpr,
    HARD: tl.constexpr,
):
    """Gradients of the pre-activations and of c before, from those of h and c after."""
    tanh_c = tanh(after)
    d_o = dh * tanh_c * slope(o, HARD)
    dc += dh * o * (1 - tanh_c * tanh_c)
    if PEEPHOLE:
        dc += d_o * tl.load(peephole + 2 * gate_stride, inside, 0).to(dc.dtype)
    d_i = dc * g * slope(i, HARD)
    d_f = dc * before * slope(f, HARD)
    d_g = dc * i * (1 - g * g)
    dc *= f
    if PEEPHOLE:
        dc += d_i * tl.load(peephole, inside, 0).to(dc.dtype)
        dc += d_f * tl.load(peephole + gate_stride, inside, 0).to(dc.dtype)
    return d_i, d_f, d_g, d_o, dc
