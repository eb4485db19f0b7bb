"""The kernels of the GPU's time loop in PyTorch's operations, where Triton cannot run."""

from __future__ import annotations

import torch
from torch import Tensor

from ..reference_loop import gate_activation
from .steps import Backward, Forward, Kernels, Step


class PlainKernels(Kernels):
    """All in the dtype of the cell states."""

    name = 'plain'
    gemm = False

    def forward(self, run: Forward, step: Step, product: Tensor | None) -> None:
        """See ``Kernels``."""
        n, keep = step.count, run.gates is not None
        z = run.gates_x[:n, step.frame].to(run.cells.dtype)
        if product is not None:
            z = z + product
        i, f, g, o = z.chunk(4, -1)
        c = run.cells[:n, step.number if keep else 0]
        if run.peephole is not None:
            i, f = i + run.peephole[0] * c, f + run.peephole[1] * c
        i, f, g = gate_activation(i, run.hard), gate_activation(f, run.hard), g.tanh()
        c = f * c + i * g
        if run.peephole is not None:
            o = o + run.peephole[2] * c
        o = gate_activation(o, run.hard)
        h = o * c.tanh()
        run.cells[:n, step.number + 1 if keep else 0] = c
        run.sequence[:n, step.frame] = h
        run.state[(step.number + 1) % 2, :n] = h if run.mask is None else h * run.mask[:n]
        if keep:
            run.gates[:n, step.frame] = torch.cat([i, f, g, o], -1)

    def backward(
        self, run: Backward, step: Step, following: Step | None, product: Tensor | None
    ) -> None:
        """See ``Kernels``."""
        n, follow = step.count, following.count if following else 0
        wide = run.cells.dtype
        dh = run.dc.new_zeros(max(n, follow), *run.dc.shape[1:])
        if product is not None:
            dh[:follow] = product if run.mask is None else product * run.mask[:follow]
        if run.dh0 is not None:
            run.dh0[n:follow] = dh[n:follow]
        if not n:
            return
        dh = dh[:n]
        if run.dh is not None:
            dh[follow:] += run.dh[follow:n]
        if run.d_sequence is not None:
            dh += run.d_sequence[:n, step.frame]
        before, after = run.cells[:n, step.number], run.cells[:n, step.number + 1]
        i, f, g, o = run.gates[:n, step.frame].to(wide).chunk(4, -1)
        tanh_c, dc = after.tanh(), run.dc[:n]
        d_o = dh * tanh_c * _slope(o, run.hard)
        dc += dh * o * (1 - tanh_c * tanh_c)
        if run.peephole is not None:
            dc += d_o * run.peephole[2]
        d_i = dc * g * _slope(i, run.hard)
        d_f = dc * before * _slope(f, run.hard)
        dz = torch.cat([d_i, d_f, dc * i * (1 - g * g), d_o], -1)
        dc *= f
        if run.peephole is not None:
            dc += d_i * run.peephole[0] + d_f * run.peephole[1]
        run.dz[:n, step.frame] = run.dense[:n] = dz


def _slope(gate: Tensor, hard: float) -> Tensor:
    return ((gate > 0) & (gate < 1)).to(gate.dtype) * hard if hard else gate * (1 - gate)
