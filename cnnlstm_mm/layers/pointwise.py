"""The cell update between the convolutions, and its gradient, in plain
operations that allocate nothing."""
from __future__ import annotations

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input


def update_(z: Tensor, c: Tensor, h: Tensor, peephole: Tensor | None,
            hard: bool) -> None:
    """One cell update.

    Args:
        z: pre-activations [n, 4 hidden, H, W] in the order i, f, g, o; becomes
            the activations.
        c: cell state [n, hidden, H, W]; becomes the next one.
        h: where the next hidden state goes, as c.
        peephole: [3, hidden, H or 1, W or 1] for i, f, o.
        hard: hard sigmoid gates.
    """
    sigmoid_ = torch.ops.aten.hardsigmoid_ if hard else torch.sigmoid_
    i, f, g, o = z.chunk(4, 1)
    if peephole is not None:
        i.addcmul_(peephole[0], c)
        f.addcmul_(peephole[1], c)
    sigmoid_(z[:, :2 * c.shape[1]])
    g.tanh_()
    c.mul_(f).addcmul_(i, g)
    if peephole is not None:
        o.addcmul_(peephole[2], c)
    sigmoid_(o)
    torch.tanh(c, out=h)
    h.mul_(o)


def next_cell(gates: Tensor, c: Tensor, out: Tensor) -> None:
    """The cell state after a step, again from its activations [n, 4 hidden, H,
    W]."""
    i, f, g, _ = gates.chunk(4, 1)
    torch.mul(f, c, out=out)
    out.addcmul_(i, g)


def update_backward_(gates: Tensor, c_before: Tensor, c_after: Tensor,
                     dh: Tensor, dc: Tensor, dz: Tensor, h: Tensor,
                     peephole: Tensor | None, hard: bool) -> None:
    """Gradient of one cell update.

    Args:
        gates: activations [n, 4 hidden, H, W].
        c_before: cell state before the step [n, hidden, H, W].
        c_after: cell state after it.
        dh: gradient of the hidden state after the step; is used up.
        dc: gradient of the cell state after the step; becomes that before it.
        dz: where the gradient of the pre-activations goes, as gates.
        h: where the hidden state after the step goes, recomputed.
        peephole: as in ``update_``.
        hard: as in ``update_``.
    """
    gate_backward = _hard_sigmoid_backward if hard else _sigmoid_backward
    i, f, g, o = gates.chunk(4, 1)
    dz_i, dz_f, dz_g, dz_o = dz.chunk(4, 1)
    tanh_c = torch.tanh(c_after, out=h)
    gate_backward(torch.mul(dh, tanh_c, out=dz_o), o, grad_input=dz_o)
    dc.add_(_tanh_backward(dh.mul_(o), tanh_c, grad_input=dh))
    h.mul_(o)
    if peephole is not None:
        dc.addcmul_(dz_o, peephole[2])
    gate_backward(torch.mul(dc, g, out=dz_i), i, grad_input=dz_i)
    gate_backward(torch.mul(dc, c_before, out=dz_f), f, grad_input=dz_f)
    _tanh_backward(torch.mul(dc, i, out=dz_g), g, grad_input=dz_g)
    dc.mul_(f)
    if peephole is not None:
        dc.addcmul_(dz_i, peephole[0]).addcmul_(dz_f, peephole[1])


def _hard_sigmoid_backward(grad: Tensor, gate: Tensor, *,
                           grad_input: Tensor) -> None:
    torch.mul(
        grad, ((gate > 0) & (gate < 1)).to(grad.dtype).div_(6), out=grad_input)
