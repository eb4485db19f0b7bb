"""The kernels of the GPU's time loop in Triton: 'update', 'gemm' and 'persistent'.

With TRITON_INTERPRET=1 they run on the CPU, slowly, for tests.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .layout import offsets
from .steps import Backward, Forward, Kernels, Step
from .triton_backward import backward_step
from .triton_forward import forward_step


class Tile(NamedTuple):
    """The part of a step that one program computes.

    Attributes:
        pixels: rows of the product.
        channels: hidden channels.
        depth: values of 2 bytes that a trip of the product's loop sums over.
        warps: of 32 threads.
        stages: trips whose loads are in flight.
    """

    pixels: int
    channels: int
    depth: int
    warps: int
    stages: int


FORWARD_TILES = (
    Tile(128, 32, 64, 8, 4),
    Tile(64, 32, 64, 4, 4),
    Tile(64, 16, 64, 4, 4),
    Tile(32, 8, 128, 4, 3),
    Tile(16, 8, 128, 4, 4),
)
BACKWARD_TILES = (
    Tile(128, 32, 64, 8, 4),
    Tile(64, 64, 64, 8, 4),
    Tile(64, 32, 64, 4, 4),
    Tile(32, 16, 128, 4, 3),
    Tile(16, 8, 128, 4, 4),
)
UPDATE_TILE = Tile(16, 64, 16, 4, 1)

# The interpreter multiplies the bits of bfloat16 as integers.
_INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'


def tiles_for(shape: tuple[int, ...], processors: int, forward: bool) -> list[Tile]:
    """Tiles that keep a GPU busy, the largest first.

    Args:
        shape: of the cell states [N, hidden, H, W].
        processors: multiprocessors of the GPU, each of which runs up to eight programs at a time.
        forward: the direction.
    """
    batch, hidden, height, width = shape
    tiles = FORWARD_TILES if forward else BACKWARD_TILES

    def programs(tile: Tile) -> int:
        return triton.cdiv(batch * height * width, tile.pixels) * triton.cdiv(hidden, tile.channels)

    fit = [t for t in tiles if processors / 2 <= programs(t) <= 8 * processors]
    return fit or [min(tiles, key=lambda t: abs(programs(t) - processors))]


class TritonKernels(Kernels):
    """A launch a step, besides cuDNN's product where ``tile`` is None.

    Args:
        tile: of the implicit GEMM; None leaves the product to cuDNN.
        tf32: whether float32 products may have TF32's 10 bits.
    """

    programs = 0  # a launch that runs all steps has so many at most

    def __init__(self, tile: Tile | None, tf32: bool) -> None:
        self.gemm = tile is not None
        self.name = 'gemm' if tile else 'update'
        self.tile = tile or UPDATE_TILE
        self.precision = 'tf32' if tf32 else 'ieee'

    def forward(
        self,
        run: Forward,
        step: Step,
        product: Tensor | None,
        rounds: int = 0,
        reverse: bool = False,
    ) -> None:
        """See ``Kernels``; ``rounds`` steps in one launch unless it is 0."""
        state, keep = run.state, run.gates is not None
        source, target = state[step.number % 2], state[(step.number + 1) % 2]
        depth = state.shape[-1]
        self._launch(
            forward_step,
            run,
            (
                source if product is None else product,
                run.weight,
                run.gates_x,
                run.cells,
                run.sequence,
                target,
                run.gates if keep else run.gates_x,
            ),
            (
                step.count * _pixels(run.cells),
                step.frame,
                step.number if keep else 0,
                step.number + 1 if keep else 0,
                0 if run.zero and not step.number else self._trips(run, depth),
                rounds,
                self._trips(run, depth),
                state[0].numel(),
            ),
            run.sequence.shape[1],
            offsets(run.kernel),
            LOOP=rounds > 0,
            REVERSE=reverse,
            KEEP=keep,
        )

    def backward(
        self,
        run: Backward,
        step: Step,
        following: Step | None,
        product: Tensor | None,
        rounds: int = 0,
        reverse: bool = False,
    ) -> None:
        """See ``Kernels``; ``rounds`` steps in one launch unless it is 0."""
        follow = following.count if following else 0
        self._launch(
            backward_step,
            run,
            (
                run.dz if product is None else product,
                run.weight,
                run.gates,
                run.cells,
                run.dc if run.d_sequence is None else run.d_sequence,
                run.dc if run.dh is None else run.dh,
                run.dc,
                run.dz,
                run.dense,
                run.dc if run.dh0 is None else run.dh0,
            ),
            (
                max(step.count, follow) * _pixels(run.cells),
                step.count,
                follow,
                step.frame,
                following.frame if following else 0,
                max(step.number, 0),
                self._trips(run, run.dz.shape[-1]) if following or rounds else 0,
                rounds,
            ),
            run.dz.shape[1],
            offsets(run.kernel, transposed=True),
            LOOP=rounds > 0,
            REVERSE=reverse,
            D_SEQUENCE=run.d_sequence is not None,
            DH=run.dh is not None,
            DH0=run.dh0 is not None,
        )

    def _block(self, run: Forward | Backward) -> int:
        """Values that a trip of the product's loop sums over."""
        return max(2 * self.tile.depth // run.weight.element_size(), 16)

    def _trips(self, run: Forward | Backward, depth: int) -> int:
        return run.kernel[0] * run.kernel[1] * triton.cdiv(depth, self._block(run))

    def _launch(
        self,
        kernel: Any,
        run: Forward | Backward,
        tensors: tuple[Tensor, ...],
        scalars: tuple[int, ...],
        frames: int,
        corner: tuple[int, int],
        LOOP: bool,
        **constants: bool,
    ) -> None:
        if not scalars[0]:
            return
        _, slots, height, width, channels = run.cells.shape
        peephole, tile = run.peephole, self.tile
        grid: tuple[int, ...] = (
            triton.cdiv(scalars[0], tile.pixels),
            triton.cdiv(channels, tile.channels),
        )
        barrier = run.cells
        if LOOP:
            grid = (min(grid[0] * grid[1], self.programs),)
            barrier = run.cells.new_zeros(1, dtype=torch.int32)
        kernel[grid](
            *tensors,
            run.cells if peephole is None else peephole,
            run.cells if run.mask is None else run.mask,
            *scalars,
            barrier,
            frames,
            slots,
            height,
            width,
            channels,
            0 if peephole is None or peephole[0].numel() == channels else channels,
            0 if peephole is None else peephole[0].numel(),
            LOOP=LOOP,
            GEMM=self.gemm,
            PEEPHOLE=peephole is not None,
            MASK=run.mask is not None,
            HARD=run.hard,
            TAPS=run.kernel[0] * run.kernel[1],
            KERNEL_WIDTH=run.kernel[1],
            TOP=corner[0],
            LEFT=corner[1],
            BLOCK_M=tile.pixels,
            BLOCK_C=tile.channels,
            BLOCK_K=self._block(run),
            WIDEN=_INTERPRETED and run.weight.dtype == torch.bfloat16,
            WIDE=tl.float64 if run.cells.dtype == torch.float64 else tl.float32,
            PRECISION=self.precision,
            num_warps=tile.warps,
            num_stages=tile.stages,
            **dict(launch_cooperative_grid=True) if LOOP else {},
            **constants,
        )


class PersistentKernels(TritonKernels):
    """One launch for all steps, with a barrier of the whole grid between them.

    A cooperative launch, so that the driver refuses a grid whose programs do not fit onto the GPU
    at the same time. h goes between programs through the L2 cache, where the weight stays, too.
    Samples of different length take a launch a step. Not yet run on a GPU.

    Args:
        tile: of the implicit GEMM.
        tf32: whether float32 products may have TF32's 10 bits.
        programs: multiprocessors of the GPU; each gets one program, which goes through several
            tiles where there are more.
    """

    def __init__(self, tile: Tile, tf32: bool, programs: int) -> None:
        super().__init__(tile, tf32)
        self.name, self.programs = 'persistent', programs

    def forward_all(self, run: Forward, steps: list[Step]) -> None:
        """See ``Kernels``."""
        if _differ(steps):
            super().forward_all(run, steps)
        else:
            self.forward(run, steps[0], None, len(steps), steps[0].frame > 0)

    def backward_all(self, run: Backward, steps: list[Step]) -> None:
        """See ``Kernels``."""
        if _differ(steps):
            super().backward_all(run, steps)
        else:
            rounds = len(steps) + (run.dh0 is not None)
            self.backward(run, steps[-1], None, None, rounds, steps[0].frame > 0)


def _differ(steps: list[Step]) -> bool:
    """Whether samples have different numbers of steps."""
    return any(step.count != steps[0].count for step in steps)


def _pixels(cells: Tensor) -> int:
    return cells.shape[-3] * cells.shape[-2]
