"""Linear recurrences h_t = f_t . h_{t-1} + b_t over the frames of a clip."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op('cnnlstm_mm::scan', mutates_args=())
def scan(f: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """Run all steps, each one multiply-add.

    Args:
        f: factors [N, T, ...].
        b: summands, as f.
        h: the value before the first step [N, ...].
        reverse: from the last frame to the first.

    Returns:
        The values after each step, in the order of the frames, as f.
    """
    out = torch.empty_like(b, memory_format=torch.contiguous_format)
    steps = range(f.shape[1])
    for t in reversed(steps) if reverse else steps:
        h = torch.addcmul(b[:, t], f[:, t], h, out=out[:, t])
    return out


@scan.register_fake
def _(f, b, h, reverse):
    return torch.empty_like(b, memory_format=torch.contiguous_format)


def _save(ctx, inputs, output):
    f, _, h, ctx.reverse = inputs
    ctx.save_for_backward(f, h, output)


def _backward(ctx, d_out):
    """The gradient of b is itself a recurrence, in the other direction."""
    f, h, out = ctx.saved_tensors
    first = slice(-1, None) if ctx.reverse else slice(0, 1)
    if ctx.reverse:
        before = torch.cat([out[:, 1:], h[:, None]], 1)
        after = torch.cat([torch.zeros_like(f[:, first]), f[:, :-1]], 1)
    else:
        before = torch.cat([h[:, None], out[:, :-1]], 1)
        after = torch.cat([f[:, 1:], torch.zeros_like(f[:, first])], 1)
    d_b = scan(after, d_out, torch.zeros_like(h), not ctx.reverse)
    return d_b * before, d_b, (f[:, first] * d_b[:, first])[:, 0], None


scan.register_autograd(_backward, setup_context=_save)


def plain_scan(f: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """:func:`scan` in operations that every transform and exporter knows."""
    steps = range(f.shape[1])
    out = [h] * len(steps)
    for t in reversed(steps) if reverse else steps:
        out[t] = h = torch.addcmul(b[:, t], f[:, t], h)
    return torch.stack(out, 1)
