"""The time loop of a ConvLSTM in plain operations, under autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def hard_sigmoid(x: Tensor) -> Tensor:
    """Keras 3's: relu6(x + 3) / 6. Keras 2's was clip(0.2 x + 0.5, 0, 1)."""
    return F.relu6(x + 3) / 6


def schedule(
    frames: int, reverse: bool, batch_sizes: list[int] | None, batch: int
) -> list[tuple[int, int]]:
    """The steps in order, as (frame, how many samples have it); the longest samples come first."""
    order = range(frames - 1, -1, -1) if reverse else range(frames)
    if batch_sizes is None:
        return [(t, batch) for t in order]
    return [(t, batch_sizes[t]) for t in order if batch_sizes[t]]


def update(z: Tensor, c: Tensor, peephole: Tensor | None, hard: bool) -> tuple[Tensor, Tensor]:
    """One cell update from the pre-activations [N, 4 hidden, H, W]; returns h and c."""
    sigmoid = hard_sigmoid if hard else torch.sigmoid
    z_i, z_f, z_g, z_o = z.chunk(4, 1)
    if peephole is not None:
        z_i, z_f = z_i + peephole[0] * c, z_f + peephole[1] * c
    c = sigmoid(z_f) * c + sigmoid(z_i) * torch.tanh(z_g)
    if peephole is not None:
        z_o = z_o + peephole[2] * c
    return sigmoid(z_o) * torch.tanh(c), c


def loop(
    gates_x: Tensor,
    recur: Callable[[Tensor], Tensor],
    h: Tensor,
    c: Tensor,
    *,
    peephole: Tensor | None = None,
    mask: Tensor | None = None,
    hard: bool = False,
    reverse: bool = False,
    batch_sizes: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs all steps.

    Args:
        gates_x: the input's share of the pre-activations [N, T, 4 hidden, H, W], gates in the
            order i, f, g, o.
        recur: from h [N, hidden, H, W] to the state's share [N, 4 hidden, H, W].
        h: initial hidden state [N, hidden, H, W].
        c: initial cell state, as h.
        peephole: [3, hidden, H or 1, W or 1] for i, f, o.
        mask: recurrent dropout, multiplied into h before the product, as h.
        hard: hard sigmoid gates.
        reverse: from the last frame to the first.
        batch_sizes: for each frame, how many samples have it; these come first.

    Returns:
        The sequence of h in the order of the frames [N, T, hidden, H, W] (0 where a sample has no
        frame) and the last h and c.
    """
    batch, sequence = h.shape[0], [torch.zeros_like(h)] * gates_x.shape[1]
    steps = gates_x.unbind(1)
    for t, n in schedule(len(steps), reverse, batch_sizes, batch):
        h_now = h[:n] if mask is None else h[:n] * mask[:n]
        h_now, c_now = update(steps[t][:n] + recur(h_now), c[:n], peephole, hard)
        h_now = h_now.to(h.dtype)
        sequence[t] = h_now if n == batch else torch.cat([h_now, torch.zeros_like(h[n:])])
        h = h_now if n == batch else torch.cat([h_now, h[n:]])
        c = c_now if n == batch else torch.cat([c_now, c[n:]])
    return torch.stack(sequence, 1), h, c
