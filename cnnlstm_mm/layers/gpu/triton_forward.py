"""A step of a ConvLSTM, or all of them, in one Triton kernel.

The recurrent product comes from the implicit GEMM and stays in registers, with the cell as its
epilogue; with GEMM = False it comes from a convolution outside, and the kernel does all the rest of
the step. All tensors lie channels last and dense: [N, T, H, W, C] or [N, H, W, C]. A tile is
BLOCK_M pixels by BLOCK_C hidden channels; its accumulator has 4 BLOCK_C columns, a channel's i, f,
g and o side by side.
"""

import triton
import triton.language as tl

from .triton_barrier import wait_for_all
from .triton_cell import cell, load_gates, store_gates
from .triton_gemm import implicit_gemm


@triton.jit
def forward_tile(
    pixel_block,
    channel_block,
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
    """Compute h and c after a frame, of a tile of pixels and channels.

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
    m = pixel_block * BLOCK_M + tl.arange(0, BLOCK_M)
    channel = channel_block * BLOCK_C + tl.arange(0, BLOCK_C)
    pixels = height * width
    sample = m // pixels
    pixel = m % pixels
    inside = (m < rows)[:, None] & (channel < channels)[None, :]
    row = m.to(tl.int64)[:, None]
    if GEMM:
        column = channel_block * (4 * BLOCK_C) + tl.arange(0, 4 * BLOCK_C)
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


@triton.jit(do_not_specialize=['rows', 'frame', 'before', 'after', 'trips', 'rounds', 'more'])
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
    rounds,
    more,
    half,
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
    """Run ``forward_tile`` for all tiles of a step; with LOOP for those of all steps.

    A step is a grid of tiles [pixels, channels]. The loop is a grid of programs that are all on
    the GPU at a time; each has the same tiles at every step, so that only h goes between programs.

    Further arguments:
        source: with LOOP [2, n, pixels, channels]; a step reads one half and writes the other.
        rounds: how many steps LOOP runs, of all ``frames``.
        more: ``trips`` after the first step.
        half: values of a half of ``source``.
        barrier: a zero.
        LOOP: whether one launch runs all steps.
        REVERSE: whether LOOP begins with the last frame.
    """
    if LOOP:
        columns = tl.cdiv(channels, BLOCK_C)
        tiles = tl.cdiv(rows, BLOCK_M) * columns
        for step in range(rounds):
            at = rounds - 1 - step if REVERSE else step
            slot = step if KEEP else 0
            next_slot = step + 1 if KEEP else 0
            depth = tl.where(step == 0, trips, more)
            near = (step % 2) * half
            for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
                forward_tile(
                    tile // columns, tile % columns, source + near, weight, gates_x, cells,
                    sequence, source + (half - near), gates, peephole, mask, rows, at, slot,
                    next_slot, depth, frames, slots, height, width, channels, peephole_pixel,
                    peephole_gate, GEMM, KEEP, PEEPHOLE, MASK, HARD, TAPS, KERNEL_WIDTH, TOP,
                    LEFT, BLOCK_M, BLOCK_C, BLOCK_K, WIDEN, WIDE, PRECISION,
                )  # fmt: skip
            if step + 1 < rounds:
                wait_for_all(barrier, (step + 1) * tl.num_programs(0))
    else:
        forward_tile(
            tl.program_id(0), tl.program_id(1), source, weight, gates_x, cells, sequence,
            state, gates, peephole, mask, rows, frame, before, after, trips, frames, slots,
            height, width, channels, peephole_pixel, peephole_gate, GEMM, KEEP, PEEPHOLE, MASK,
            HARD, TAPS, KERNEL_WIDTH, TOP, LEFT, BLOCK_M, BLOCK_C, BLOCK_K, WIDEN, WIDE,
            PRECISION,
        )  # fmt: skip
