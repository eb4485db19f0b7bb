"""The state of a recurrent model that runs step by step, and training on it.

A state is a dict of tensors, each with the batch first and of constant size.
All zeros is the state before the first step; ``count`` [N] tells how many
steps each sample has seen.
"""

from typing import Any

import torch
from torch import Tensor

from cnnlstm_mm.options import check_number, check_whole

State = dict[str, Tensor]


def reset_state(state: State, mask: Tensor) -> State:
    """Bring some samples back to the state before their first step.

    Args:
        state (dict[str, Tensor]): Tensors [N, ...].
        mask (Tensor): bool [N], which samples begin anew.

    Returns:
        dict[str, Tensor]: A new state; ``state`` is left as it is.
    """
    return {
        name: value.masked_fill(mask.view(-1, *[1] * (value.dim() - 1)), 0)
        for name, value in state.items()
    }


def check_tbptt(
    neck: str, tbptt_len: Any, carry_prob: float, every_step: bool, option: str
) -> None:
    """Refuse options of truncated backpropagation that do not fit.

    Args:
        neck (str): The neck's name, for the messages.
        tbptt_len (int, optional): Frames of a clip.
        carry_prob (float): Probability that a clip goes on with the state.
        every_step (bool): Whether the neck returns all steps.
        option (str): What makes it do so, for the message.

    Raises:
        ValueError: If one is out of range, or the neck returns the end of the
            sample only, whose loss would not reach the earlier clips.
    """
    check_number(0, 1, carry_prob=carry_prob)
    if tbptt_len is None:
        return
    check_whole(tbptt_len=tbptt_len)
    if not every_step:
        raise ValueError(
            f'{neck}(tbptt_len={tbptt_len}) needs {option} and a head with a '
            'loss at every step, cls_head=dict(type="PerStepHead"): otherwise '
            'the loss reaches the last clip only.'
        )


def run_truncated(neck: Any, x: Tensor, clip_len: int, carry_prob: float) -> Tensor:
    """Run over consecutive clips, each with a gradient of its own.

    The first clip of a sample starts from the zero state. Each later one goes
    on with the state after the clip before, without its gradient, with
    probability ``carry_prob`` for each sample, and otherwise from zero.

    Args:
        neck (ConvLSTMNeck or LSTMPoolingNeck): Has ``init_state`` and
            ``forward_steps``.
        x (Tensor): Feature maps [N, C, T, h, w].
        clip_len (int): Frames of a clip; the last one may be shorter.
        carry_prob (float): From 0, independent clips, to 1.

    Returns:
        Tensor: The features of every step [N, C', T, h', w'].

    Source: Williams and Peng, "An Efficient Gradient-Based Algorithm for
    On-Line Training of Recurrent Network Trajectories", 1990.
    """
    state = neck.init_state(len(x), x.shape[3:], x.dtype, x.device)
    outputs = []
    for clip in x.split(clip_len, dim=2):
        output, state = neck.forward_steps(clip, state)
        outputs.append(output)
        anew = torch.rand(len(x), device=x.device) >= carry_prob
        state = reset_state({name: value.detach() for name, value in state.items()}, anew)
    return torch.cat(outputs, dim=2)
