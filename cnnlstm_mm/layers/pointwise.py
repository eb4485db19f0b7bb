"""The cell update between the convolutions, and its gradient, in plain
operations that allocate nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def smallest_cell(dtype: torch.dtype) -> float:
    """What a cell state is moved away from 0 to, where h is to give o again:
    the least number whose products with o keep their digits.
    """
    return max(1e-30, torch.finfo(dtype).tiny)


def update_(
    z: Tensor,
    c: Tensor,
    h: Tensor,
    peephole: Tensor | None,
    hard: bool,
    gates: Tensor | None = None,
    cell: Tensor | None = None,
) -> None:
    """One cell update.

    Args:
        z: pre-activations [n, 4 hidden, H, W] in the order i, f, g, o; is used
            up.
        c: cell state [n, hidden, H, W]; becomes the next one.
        h: where the next hidden state goes, as c.
        peephole: [3, hidden, H or 1, W or 1] for i, f, o.
        hard: hard sigmoid gates.
        gates: where the activations of i and f go [n, 2 hidden, H, W], for
            ``update_backward_``.
        cell: where the next cell state goes, as c, for the same.
    """
    i, f, g, o = z.chunk(4, 1)
    both = z[:, : 2 * c.shape[1]]
    if peephole is not None:
        i.addcmul_(peephole[0], c)
        f.addcmul_(peephole[1], c)
    if gates is None:
        _sigmoid(hard)(both, out=both)
    else:
        _sigmoid(hard)(both, out=gates)
        i, f = gates.chunk(2, 1)
    g.tanh_()
    c.mul_(f).addcmul_(i, g)
    if cell is not None:
        least = smallest_cell(c.dtype)
        c.masked_fill_(c.abs() < least, least)
        cell.copy_(c)
    if peephole is not None:
        o.addcmul_(peephole[2], c)
    _sigmoid(hard)(o, out=o)
    torch.tanh(c, out=h)
    h.mul_(o)


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
    """Gradient of one cell update.

    o and g are computed again, as h / tanh(c) and (c - f c_before) / i. The
    first keeps its digits, since h was rounded last; those that the second
    loses where i is small weigh as little, since g's gradient has i as a
    factor.

    Args:
        gates: activations of i and f [n, 2 hidden, H, W].
        cell: cell state after the step [n, hidden, H, W].
        c_before: cell state before it.
        h: hidden state after it.
        dh: gradient of the hidden state after the step; is used up.
        dc: gradient of the cell state after the step; becomes that before it.
        dz: where the gradient of the pre-activations goes [n, 4 hidden, H, W].
        peephole: as in ``update_``.
        hard: as in ``update_``.
    """
    gate_backward = _hard_sigmoid_backward if hard else _sigmoid_backward
    i, f = gates.chunk(2, 1)
    dz_i, dz_f, dz_g, dz_o = dz.chunk(4, 1)
    tanh_c = torch.tanh(cell)
    o = h / tanh_c
    gate_backward(torch.mul(dh, tanh_c, out=dz_o), o, grad_input=dz_o)
    dc.add_(_tanh_backward(dh.mul_(o), tanh_c, grad_input=dh))
    if peephole is not None:
        dc.addcmul_(dz_o, peephole[2])
    g = torch.addcmul(cell, f, c_before, value=-1, out=tanh_c)
    g.div_(torch.clamp(i, min=smallest_cell(i.dtype), out=o)).clamp_(-1, 1)
    gate_backward(torch.mul(dc, g, out=dz_i), i, grad_input=dz_i)
    gate_backward(torch.mul(dc, c_before, out=dz_f), f, grad_input=dz_f)
    _tanh_backward(torch.mul(dc, i, out=dz_g), g, grad_input=dz_g)
    dc.mul_(f)
    if peephole is not None:
        dc.addcmul_(dz_i, peephole[0]).addcmul_(dz_f, peephole[1])


def _sigmoid(hard: bool) -> Callable:
    return torch.ops.aten.hardsigmoid.out if hard else torch.sigmoid


def _hard_sigmoid_backward(grad: Tensor, gate: Tensor, *, grad_input: Tensor) -> None:
    torch.mul(grad, ((gate > 0) & (gate < 1)).to(grad.dtype).div_(6), out=grad_input)
