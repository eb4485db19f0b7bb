"""The cell update between the convolutions, and its gradient, in PyTorch's operations."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def update_(z: Tensor, c: Tensor, peephole: Tensor | None, hard: float) -> tuple[Tensor, Tensor]:
    """One cell update.

    Args:
        z: pre-activations [n, 4 hidden, H, W] in the order i, f, g, o; becomes their activations.
        c: cell state [n, hidden, H, W].
        peephole: [3, hidden, H or 1, W or 1] for i, f, o.
        hard: slope of hard sigmoid gates; 0 for sigmoid gates.

    Returns:
        The next hidden and cell states, as c.
    """
    i, f, g, o = z.chunk(4, 1)
    if peephole is not None:
        i.addcmul_(peephole[0], c)
        f.addcmul_(peephole[1], c)
    _gates_(z[:, : 2 * c.shape[1]], hard)
    c = next_cell(i, f, g.tanh_(), c)
    if peephole is not None:
        o.addcmul_(peephole[2], c)
    return torch.tanh(c).mul_(_gates_(o, hard)), c


def next_cell(i: Tensor, f: Tensor, g: Tensor, c: Tensor) -> Tensor:
    """The cell state after ``c``, from the activations."""
    return torch.mul(f, c).addcmul_(i, g)


def update_backward_(
    gates: Tensor,
    cell: Tensor,
    c_before: Tensor,
    dh: Tensor,
    dc: Tensor,
    peephole: Tensor | None,
    hard: float,
) -> Tensor:
    """Gradient of one cell update.

    Args:
        gates: activations of i, f, g, o [n, 4 hidden, H, W].
        cell: cell state after the step [n, hidden, H, W].
        c_before: cell state before it.
        dh: gradient of the hidden state after the step; is overwritten.
        dc: gradient of the cell state after the step; becomes that before it.
        peephole: as in ``update_``.
        hard: as in ``update_``.

    Returns:
        The gradient of the pre-activations, as ``gates``.
    """
    slope = partial(_hard_sigmoid_backward, hard) if hard else _sigmoid_backward
    dz = torch.empty_like(gates)
    i, f, g, o = gates.chunk(4, 1)
    dz_i, dz_f, dz_g, dz_o = dz.chunk(4, 1)
    tanh_c = torch.tanh(cell)
    slope(torch.mul(dh, tanh_c, out=dz_o), o, grad_input=dz_o)
    dc.add_(_tanh_backward(dh.mul_(o), tanh_c, grad_input=dh))
    if peephole is not None:
        dc.addcmul_(dz_o, peephole[2])
    slope(torch.mul(dc, g, out=dz_i), i, grad_input=dz_i)
    slope(torch.mul(dc, c_before, out=dz_f), f, grad_input=dz_f)
    _tanh_backward(torch.mul(dc, i, out=dz_g), g, grad_input=dz_g)
    dc.mul_(f)
    if peephole is not None:
        dc.addcmul_(dz_i, peephole[0]).addcmul_(dz_f, peephole[1])
    return dz


def _gates_(z: Tensor, hard: float) -> Tensor:
    if not hard:
        return torch.sigmoid_(z)
    return torch.ops.aten.hardsigmoid_(z if hard == 1 / 6 else z.mul_(6 * hard))


def _hard_sigmoid_backward(hard: float, grad: Tensor, gate: Tensor, *, grad_input: Tensor) -> None:
    torch.mul(grad, ((gate > 0) & (gate < 1)).to(grad.dtype).mul_(hard), out=grad_input)
