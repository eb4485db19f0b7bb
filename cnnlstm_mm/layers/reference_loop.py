"""The time loop of a ConvLSTM in plain operations, under autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# The activations of the gates: the slope of a hard sigmoid, clip(slope x + 0.5, 0, 1), or 0.
GATE_ACTIVATIONS = dict(sigmoid=0.0, hard_sigmoid=1 / 6, hard_sigmoid_keras2=0.2)


def gate_activation(x: Tensor, hard: float) -> Tensor:
    """clip(hard x + 0.5, 0, 1), or the sigmoid if ``hard`` is 0."""
    if not hard:
        return torch.sigmoid(x)
    return F.relu6((x if hard == 1 / 6 else x * (6 * hard)) + 3) / 6


def schedule(
    frames: int, reverse: bool, batch_sizes: list[int] | None, batch: int
) -> list[tuple[int, int]]:
    """The steps in order, as (frame, how many samples have it); the longest samples come first."""
    order = range(frames - 1, -1, -1) if reverse else range(frames)
    if batch_sizes is None:
        return [(t, batch) for t in order]
    return [(t, batch_sizes[t]) for t in order if batch_sizes[t]]


def update(
    z: Tensor, c: Tensor, peephole: Tensor | None, hard: float, activation: str = 'tanh'
) -> tuple[Tensor, Tensor]:
    """One cell update from the pre-activations [N, 4 hidden, H, W]; returns h and c."""
    squash = getattr(torch, activation)
    z_i, z_f, z_g, z_o = z.chunk(4, 1)
    if peephole is not None:
        z_i, z_f = z_i + peephole[0] * c, z_f + peephole[1] * c
    c = gate_activation(z_f, hard) * c + gate_activation(z_i, hard) * squash(z_g)
    if peephole is not None:
        z_o = z_o + peephole[2] * c
    return gate_activation(z_o, hard) * squash(c), c


def loop(
    gates_x: Tensor,
    recur: Callable[[Tensor], Tensor],
    h: Tensor,
    c: Tensor,
    *,
    peephole: Tensor | None = None,
    mask: Tensor | None = None,
    hard: float = 0.0,
    activation: str = 'tanh',
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
        hard: slope of hard sigmoid gates; 0 for sigmoid gates.
        activation: of the candidate and of the cell state, 'tanh' or 'relu'.
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
        h_now, c_now = update(steps[t][:n] + recur(h_now), c[:n], peephole, hard, activation)
        h_now = h_now.to(h.dtype)
        sequence[t] = h_now if n == batch else torch.cat([h_now, torch.zeros_like(h[n:])])
        h = h_now if n == batch else torch.cat([h_now, h[n:]])
        c = c_now if n == batch else torch.cat([c_now, c[n:]])
    return torch.stack(sequence, 1), h, c
