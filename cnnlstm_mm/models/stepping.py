"""State of a recurrent model that runs step by step, and truncated backpropagation.

A state is a dict of tensors, each with the batch first and of constant size. All zeros is the
state before the first step; ``count`` [N] is the number of steps that each sample has seen.
"""

from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]
Size = tuple[int, int]


def reset_state(state: State, mask: Tensor) -> State:
    """Bring the samples of ``mask``, bool [N], back to the state before their first step."""
    return {
        name: value.masked_fill(mask.view(-1, *[1] * (value.dim() - 1)), 0)
        for name, value in state.items()
    }


def run_truncated(neck: Any, x: Tensor, clip_len: int, carry_prob: float) -> Tensor:
    """Run over consecutive clips, each with a separate gradient.

    The first clip of a sample starts from the zero state. Each later one goes on with the state
    after the clip before, without its gradient, with probability ``carry_prob`` for each sample,
    and otherwise from zero.

    Args:
        neck: A :class:`RecurrentNeck`.
        x: Feature maps [N, C, T, h, w].
        clip_len: Frames of a clip; the last one may be shorter.
        carry_prob: From 0, independent clips, to 1.

    Returns:
        The features of every step [N, C', T, h', w'].

    Source: Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of
    Recurrent Network Trajectories", 1990.
    """
    state = neck.init_state(len(x), x.shape[3:], x.dtype, x.device)
    outputs = []
    for clip in x.split(clip_len, dim=2):
        output, state = neck.forward_steps(clip, state)
        outputs.append(output)
        restart = torch.rand(len(x), device=x.device) >= carry_prob
        state = reset_state({name: value.detach() for name, value in state.items()}, restart)
    return torch.cat(outputs, dim=2)
