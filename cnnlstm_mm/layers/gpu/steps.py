"""The tensors of the GPU's time loop, and the interface of its kernels."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ..reference_loop import schedule
from .layout import convolution


class Step(NamedTuple):
    """A step of the loop.

    Attributes:
        number: from 0, in the order of processing.
        frame: its place in the sequence.
        count: how many samples have it.
        before: ``count`` of the step before, 0 for the first.
        after: ``count`` of the step after, 0 for the last.
    """

    number: int
    frame: int
    count: int
    before: int
    after: int


class Forward(NamedTuple):
    """Tensors of the forward loop; N samples, T frames, F hidden channels.

    Attributes:
        weight: of the recurrent convolution, as the kernels pack it.
        kernel: its height and width.
        gates_x: the input's share of the pre-activations [N, T, H, W, 4 F].
        state: [2, N, H, W, F]: each step reads the masked h in one half and writes the other.
        zero: whether h is 0 before the first step.
        cells: c before and after each step [N, T + 1, H, W, F], or the current one [N, 1, H, W, F].
        sequence: of h [N, T, H, W, F].
        gates: activations, as gates_x, or None.
        peephole: [3, H or 1, W or 1, F] or None.
        mask: recurrent dropout [N, H, W, F] or None.
        hard: slope of hard sigmoid gates; 0 for sigmoid gates.
    """

    weight: Tensor
    kernel: tuple[int, int]
    gates_x: Tensor
    state: Tensor
    zero: bool
    cells: Tensor
    sequence: Tensor
    gates: Tensor | None
    peephole: Tensor | None
    mask: Tensor | None
    hard: float


class Backward(NamedTuple):
    """Tensors of the backward loop, as in ``Forward``.

    Attributes:
        dh: gradient of the last h [N, H, W, F] or None.
        dc: gradient of c [N, H, W, F], updated at every step.
        dz: gradient of the pre-activations [N, T, H, W, 4 F].
        dense: that of one step [N, H, W, 4 F], or ``dz`` where the product is part of the kernels.
        dh0: where the gradient of h0 goes [N, H, W, F], or None.
    """

    weight: Tensor
    kernel: tuple[int, int]
    gates: Tensor
    cells: Tensor
    d_sequence: Tensor | None
    dh: Tensor | None
    dc: Tensor
    dz: Tensor
    dense: Tensor
    dh0: Tensor | None
    peephole: Tensor | None
    mask: Tensor | None
    hard: float


class Kernels:
    """The computation of the steps.

    Attributes:
        name: 'persistent', 'gemm', 'update' or 'plain'.
        gemm: whether the recurrent convolution is part of it; else its result is the argument
            ``product`` [n, H, W, 4 F], and [n, H, W, F] in the backward direction. None stands for
            zeros.
    """

    name: str
    gemm: bool

    def forward(self, run: Forward, step: Step, product: Tensor | None) -> None:
        """h, c and the activations of a step."""
        raise NotImplementedError

    def backward(
        self, run: Backward, step: Step, following: Step | None, product: Tensor | None
    ) -> None:
        """``run.dz`` of a step and ``run.dc`` before it, from those of the step ``following``.

        With ``step.count`` 0, only ``run.dh0``.
        """
        raise NotImplementedError

    def forward_all(self, run: Forward, steps: list[Step]) -> None:
        """``forward`` of all steps."""
        convolve = convolution(run.weight, run.kernel)
        for step in steps:
            product = None
            if not self.gemm and (step.number or not run.zero):
                product = convolve(run.state[step.number % 2, : step.count])
            self.forward(run, step, product)

    def backward_all(self, run: Backward, steps: list[Step]) -> None:
        """``backward`` of all steps, and of what comes before the first if h0 needs a gradient."""
        convolve = convolution(run.weight, run.kernel, transposed=True)
        following = None
        end = [] if run.dh0 is None else [Step(-1, 0, 0, 0, steps[0].count)]
        for step in [*reversed(steps), *end]:
            product = None
            if not self.gemm and following:
                product = convolve(run.dense[: following.count])
            self.backward(run, step, following, product)
            following = step


def steps_of(frames: int, reverse: bool, batch_sizes: list[int] | None, batch: int) -> list[Step]:
    """The steps in order; arguments as in ``schedule``."""
    order = schedule(frames, reverse, batch_sizes, batch)
    counts = [0, *(n for _, n in order), 0]
    return [Step(s, t, n, counts[s], counts[s + 2]) for s, (t, n) in enumerate(order)]
