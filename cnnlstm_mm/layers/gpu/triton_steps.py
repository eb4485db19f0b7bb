"""A step of a ConvLSTM in one Triton kernel, and its gradient in another.

The recurrent product comes from the implicit GEMM and stays in registers, with
the cell as its epilogue; with GEMM = False it comes from a convolution outside,
and the kernels do all the rest of the step. All tensors lie channels last and
dense: [N, T, H, W, C] or [N, H, W, C]. A program has a tile of BLOCK_M pixels
by BLOCK_C hidden channels; its accumulator has 4 BLOCK_C columns in the forward
direction, a channel's i, f, g and o side by side.
"""

import triton
import triton.language as tl

from .triton_cell import cell, cell_gradient, load_gates, store_gates
from .triton_gemm import implicit_gemm


@triton.jit(do_not_specialize=['rows', 'frame', 'before', 'after', 'trips'])
def forward_step(
    source,
    weight,
    gates_x,
    cells,
    sequence,
    state,
    gates,
    peephole,
    mask,
    rows,
    frame,
    before,
    after,
    trips,
    frames,
    slots,
    height,
    width,
    channels,
    peephole_pixel,
    peephole_gate,
    GEMM: tl.constexpr,
    KEEP: tl.constexpr,
    PEEPHOLE: tl.constexpr,
    MASK: tl.constexpr,
    HARD: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute h and c after a frame.

    Tensors:
        source: h before it, masked [n, pixels, channels]; with GEMM = False
            its convolution [n, pixels, 4 channels].
        weight: [4 channels, taps, channels], the row of gate k and channel j
            being 4 j + k.
        gates_x: the input's share of the gates [N, frames, pixels, 4
            channels], gate by gate.
        cells: [N, slots, pixels, channels]; c is read in slot ``before`` and
            written to ``after``.
        sequence: [N, frames, pixels, channels], where h goes.
        state: where h goes, too, masked, as the next step's source.
        gates: where the activations go, as ``gates_x``; if KEEP.
        peephole: [3, pixels or 1, channels], if PEEPHOLE; with its strides.
        mask: of recurrent dropout [N, pixels, channels], if MASK.
        rows: n * pixels.
        frame: which of ``frames``.
        trips: of the product's loop; 0 before the first step.
    """
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    pixels = height * width
    sample = m // pixels
    pixel = m % pixels
    inside = (m < rows)[:, None] & (channel < channels)[None, :]
    row = m.to(tl.int64)[:, None]
    if GEMM:
        column = tl.program_id(1) * (4 * BLOCK_C) + tl.arange(0, 4 * BLOCK_C)
        z = implicit_gemm(
            source, weight, m.to(tl.int64), pixel, m < rows, column, 4 * channels, trips,
            height, width, channels, TAPS, KERNEL_WIDTH, TOP, LEFT,
            BLOCK_M, 4 * BLOCK_C, BLOCK_K, WIDEN, WIDE, PRECISION,
        )  # fmt: skip
        even, odd = tl.split(tl.reshape(z, (BLOCK_M, BLOCK_C, 2, 2)))
        i, g = tl.split(even)
        f, o = tl.split(odd)
    else:
        fed = inside & (tl.zeros_like(m) < trips)[:, None]
        i, f, g, o = load_gates(source, row, channel[None, :], channels, fed, WIDE)
    place = ((sample.to(tl.int64) * frames + frame) * pixels + pixel)[:, None]
    x_i, x_f, x_g, x_o = load_gates(gates_x, place, channel[None, :], channels, inside, WIDE)
    slot = (sample.to(tl.int64) * slots + before) * pixels + pixel
    values = cells + slot[:, None] * channels + channel[None, :]
    c = tl.load(values, inside, 0).to(WIDE)
    weights = peephole + pixel[:, None] * peephole_pixel + channel[None, :]
    i, f, g, o, c, h = cell(
        i + x_i, f + x_f, g + x_g, o + x_o, c, weights, peephole_gate, inside, PEEPHOLE, HARD
    )
    tl.store(values + (after - before) * pixels * channels, c, inside)
    tl.store(sequence + place * channels + channel[None, :], h, inside)
    if KEEP:
        store_gates(gates, place, channel[None, :], channels, inside, i, f, g, o)
    if MASK:
        h *= tl.load(mask + row * channels + channel[None, :], inside, 0).to(WIDE)
    tl.store(state + row * channels + channel[None, :], h, inside)


@triton.jit(do_not_specialize=['rows', 'count', 'follow', 'frame', 'next_frame', 'slot', 'trips'])
def backward_step(
    source,
    weight,
    gates,
    cells,
    d_sequence,
    dh,
    dc,
    dz,
    dense,
    dh0,
    peephole,
    mask,
    rows,
    count,
    follow,
    frame,
    next_frame,
    slot,
    trips,
    frames,
    slots,
    height,
    width,
    channels,
    peephole_pixel,
    peephole_gate,
    GEMM: tl.constexpr,
    D_SEQUENCE: tl.constexpr,
    DH: tl.constexpr,
    DH0: tl.constexpr,
    PEEPHOLE: tl.constexpr,
    MASK: tl.constexpr,
    HARD: tl.constexpr,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Compute the gradient of a step's pre-activations, from that of the step after it.

    Samples below ``follow`` have a step after this one; the others end here,
    and their gradient of h is ``dh``. Samples from ``count`` on begin with the
    step after this one: theirs goes to ``dh0``.

    Tensors:
        source: ``dz`` itself, read at ``next_frame``; with GEMM = False the
            data gradient of that step's convolution [follow, pixels, channels].
        weight: [channels, taps, 4 channels], the taps turned around.
        gates: activations [N, frames, pixels, 4 channels].
        cells: [N, slots, pixels, channels]: c before the step in ``slot``,
            after it in the next one.
        d_sequence: gradient of the sequence of h, if D_SEQUENCE.
        dh: gradient of the last h [N, pixels, channels], if DH.
        dc: gradient of c after the step, as dh; becomes that before it.
        dz: where the result goes, as ``gates``.
        dense: where it goes, too, unless GEMM [n, pixels, 4 channels].
        dh0: as dh, if DH0.
        rows: max(count, follow) * pixels.
        trips: of the product's loop; 0 where no step comes after.

    The others are as in ``forward_step``.
    """
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    pixels = height * width
    sample = m // pixels
    pixel = m % pixels
    exists = (m < rows)[:, None] & (channel < channels)[None, :]
    values = m.to(tl.int64)[:, None] * channels + channel[None, :]
    first = sample.to(tl.int64) * frames
    ends = (sample >= follow)[:, None]
    if GEMM:
        d_h = implicit_gemm(
            source, weight, (first + next_frame) * pixels + pixel, pixel,
            (m < rows) & (sample < follow), channel, channels, trips,
            height, width, 4 * channels, TAPS, KERNEL_WIDTH, TOP, LEFT,
            BLOCK_M, BLOCK_C, BLOCK_K, WIDEN, WIDE, PRECISION,
        )  # fmt: skip
    else:
        d_h = tl.load(source + values, exists & (ends == 0), 0).to(WIDE)
    if MASK:
        d_h *= tl.load(mask + values, exists, 0).to(WIDE)
    if DH0:
        tl.store(dh0 + values, d_h, exists & (sample >= count)[:, None])
    inside = exists & (sample < count)[:, None]
    if DH:
        d_h += tl.load(dh + values, inside & ends, 0).to(WIDE)
    place = ((first + frame) * pixels + pixel)[:, None]
    if D_SEQUENCE:
        d_h += tl.load(d_sequence + place * channels + channel[None, :], inside, 0).to(WIDE)
    i, f, g, o = load_gates(gates, place, channel[None, :], channels, inside, WIDE)
    states = cells + ((sample.to(tl.int64) * slots + slot) * pixels + pixel)[:, None] * channels
    states += channel[None, :]
    d_c = tl.load(dc + values, inside, 0).to(WIDE)
    weights = peephole + pixel[:, None] * peephole_pixel + channel[None, :]
    i, f, g, o, d_c = cell_gradient(
        i, f, g, o,
        tl.load(states, inside, 0).to(WIDE),
        tl.load(states + pixels * channels, inside, 0).to(WIDE),
        d_h, d_c, weights, peephole_gate, inside, PEEPHOLE, HARD,
    )  # fmt: skip
    tl.store(dc + values, d_c, inside)
    store_gates(dz, place, channel[None, :], channels, inside, i, f, g, o)
    if not GEMM:
        row = m.to(tl.int64)[:, None]
        store_gates(dense, row, channel[None, :], channels, inside, i, f, g, o)
