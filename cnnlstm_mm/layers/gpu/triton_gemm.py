"""A 'same' convolution as an implicit GEMM over samples * pixels, in Triton."""

import triton
import triton.language as tl


@triton.jit
def implicit_gemm(
    source,
    weight,
    start,
    pixel,
    inside,
    column,
    columns,
    trips,
    height,
    width,
    channels,
    TAPS: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    TOP: tl.constexpr,
    LEFT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    WIDEN: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A 'same' convolution's tile [BLOCK_M, BLOCK_N], in ``WIDE``.

    ``start`` are the indices of the rows' pixels in ``source``, which has
    ``channels``; ``weight`` is [columns, TAPS, channels]. ``trips`` is TAPS *
    ceil(channels / BLOCK_K), or 0 for a product with zeros. ``WIDEN`` multiplies in ``WIDE``.
    """
    y = pixel // width
    x = pixel % width
    chunks = tl.cdiv(channels, BLOCK_K)
    rows = source + start * channels
    weights = weight + column.to(tl.int64) * (TAPS * channels)
    sum = tl.zeros((BLOCK_M, BLOCK_N), WIDE)
    for trip in range(trips):
        tap = trip // chunks
        channel = (trip - tap * chunks) * BLOCK_K + tl.arange(0, BLOCK_K)
        down = tap // KERNEL_WIDTH - TOP
        right = tap % KERNEL_WIDTH - LEFT
        near = inside & (y + down >= 0) & (y + down < height) & (x + right >= 0)
        near = near & (x + right < width)
        a = tl.load(
            rows[:, None] + ((down * width + right) * channels + channel)[None, :],
            near[:, None] & (channel < channels)[None, :],
            0,
        )
        b = tl.load(
            weights[None, :] + (tap * channels + channel)[:, None],
            (channel < channels)[:, None] & (column < columns)[None, :],
            0,
        )
        if WIDEN:
            a, b = a.to(WIDE), b.to(WIDE)
        sum = tl.dot(a, b, sum, input_precision=PRECISION, out_dtype=WIDE)
    return sum
