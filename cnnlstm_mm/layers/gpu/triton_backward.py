"""The gradient of a step of a ConvLSTM, or of all of them, in one Triton kernel.

As in ``triton_forward.py``; the implicit GEMM is the data gradient of the recurrent convolution.
"""

import triton
import triton.language as tl

from .triton_barrier import wait_for_all
from .triton_cell import cell_gradient, load_gates, store_gates
from .triton_gemm import implicit_gemm


@triton.jit
def backward_tile(
    pixel_block,
    channel_block,
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
    m = pixel_block * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = channel_block * BLOCK_C + tl.arange(0, BLOCK_C)
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


@triton.jit(
    do_not_specialize=['rows', 'count', 'follow', 'frame', 'next_frame', 'slot', 'trips', 'rounds']
)
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
    rounds,
    barrier,
    frames,
    slots,
    height,
    width,
    channels,
    peephole_pixel,
    peephole_gate,
    LOOP: tl.constexpr,
    REVERSE: tl.constexpr,
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
    """Run ``backward_tile`` for all tiles of a step; with LOOP for those of all steps.

    As ``forward_step``; LOOP begins with the last step, and ``dz`` goes between programs.

    Further arguments:
        rounds: how many steps LOOP runs, one more than ``frames`` with DH0.
        barrier: a zero.
        LOOP: whether one launch runs all steps.
        REVERSE: whether the first step was that of the last frame.
    """
    if LOOP:
        columns = tl.cdiv(channels, BLOCK_C)
        tiles = tl.cdiv(rows, BLOCK_M) * columns
        for back in range(rounds):
            step = frames - 1 - back
            at = back if REVERSE else step
            next_at = back - 1 if REVERSE else step + 1
            there = tl.where(step >= 0, count, 0)
            later = tl.where(back > 0, count, 0)
            depth = tl.where(back > 0, trips, 0)
            for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
                backward_tile(
                    tile // columns, tile % columns, source, weight, gates, cells, d_sequence,
                    dh, dc, dz, dense, dh0, peephole, mask, rows, there, later, at, next_at,
                    step, depth, frames, slots, height, width, channels, peephole_pixel,
                    peephole_gate, GEMM, D_SEQUENCE, DH, DH0, PEEPHOLE, MASK, HARD, TAPS,
                    KERNEL_WIDTH, TOP, LEFT, BLOCK_M, BLOCK_C, BLOCK_K, WIDEN, WIDE, PRECISION,
                )  # fmt: skip
            if back + 1 < rounds:
                wait_for_all(barrier, (back + 1) * tl.num_programs(0))
    else:
        backward_tile(
            tl.program_id(0), tl.program_id(1), source, weight, gates, cells, d_sequence, dh,
            dc, dz, dense, dh0, peephole, mask, rows, count, follow, frame, next_frame, slot,
            trips, frames, slots, height, width, channels, peephole_pixel, peephole_gate, GEMM,
            D_SEQUENCE, DH, DH0, PEEPHOLE, MASK, HARD, TAPS, KERNEL_WIDTH, TOP, LEFT, BLOCK_M,
            BLOCK_C, BLOCK_K, WIDEN, WIDE, PRECISION,
        )  # fmt: skip
