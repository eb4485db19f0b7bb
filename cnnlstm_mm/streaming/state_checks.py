"""What a stream must not go on with, said in words."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .state import StreamState

Shapes = dict[str, torch.Size]


def check_state(
    state: StreamState, model: str, batch: int, wanted: Shapes, device: torch.device
) -> None:
    """Refuse a state that does not belong to a model and its frames.

    Args:
        state (StreamState): The state.
        model (str): The model's fingerprint.
        batch (int): How many frames there are, one a stream.
        wanted (dict[str, torch.Size]): The shapes of a state for frames of
            this size, without the batch.
        device (torch.device): The model's.

    Raises:
        ValueError: Saying what differs and what to do.
    """
    if not isinstance(state, StreamState) or not all(
        isinstance(tensor, Tensor) for tensor in state.tensors.values()
    ):
        raise ValueError(
            'the state must be the StreamState of an earlier step, or None '
            f'for streams that begin, got a {type(state).__name__}.'
        )
    if state.model != model:
        raise ValueError(
            f'the state belongs to the model {state.model}, and this is '
            f'{model}: streams begin anew with other weights (state=None).'
        )
    shapes = {
        name: tensor.shape[1:] if tensor.dim() else None for name, tensor in state.tensors.items()
    }
    if shapes != wanted:
        raise ValueError(
            'the state does not fit frames of this size: it holds '
            f'{_readable(shapes)}, they need {_readable(wanted)}. A stream '
            'keeps its frame size; begin a new one.'
        )
    sizes = {len(tensor) for tensor in state.tensors.values()}
    if sizes != {batch}:
        raise ValueError(
            f'{batch} frames for a state of '
            f'{" and ".join(map(str, sorted(sizes)))} streams: streams '
            'join by StreamState.cat([state, rec.init_state(n)]) and leave by '
            'state.select(index).'
        )
    kinds = {
        name: tensor.dtype
        for name, tensor in state.tensors.items()
        if tensor.dtype != (torch.int64 if name.endswith('count') else torch.float32)
    }
    if kinds:
        raise ValueError(
            f'the state holds {kinds}, and should be float32 '
            'with int64 counters: keep it as it was given.'
        )
    bad = _streams(list(state.tensors.values()))
    if bad:
        raise ValueError(
            f'the state of the streams {bad} has NaN, infinity or a negative '
            'counter: let them begin anew with rec.reset(state, mask).'
        )
    found = next(iter(state.tensors.values())).device
    if found.type != device.type:
        raise ValueError(f'the state is on {found}, the model on {device}: state.to("{device}")')


def blame_nan(tensors: dict[str, Tensor], frames: Tensor, scores: Tensor) -> str:
    """Say where NaN came from.

    Args:
        tensors (dict[str, Tensor]): The state before, [N, ...] each.
        frames (Tensor): The prepared frames, [N, 3, T, h, w].
        scores (Tensor): [N, T, classes].

    Returns:
        str: A message that names the streams and the cure.
    """
    if _streams(list(tensors.values())):
        return (
            f'the state of the streams {_streams(list(tensors.values()))}'
            ' has NaN: let them begin anew with rec.reset(state, mask).'
        )
    if _streams([frames]):
        return (
            f'the frames of the streams {_streams([frames])} have NaN or '
            'infinity: prepare() makes them of uint8 RGB.'
        )
    return f'the model gives NaN for the streams {_streams([scores])}: is the checkpoint sound?'


def _streams(values: Sequence[Tensor]) -> list[int]:
    """The numbers of those that have NaN, infinity or a negative counter."""
    bad = torch.stack(
        [
            ~value.reshape(len(value), -1).isfinite().all(1)
            if value.is_floating_point()
            else value.reshape(len(value), -1).lt(0).any(1)
            for value in values
        ]
    ).any(0)
    return bad.nonzero().flatten().tolist()


def _readable(shapes: dict[str, Any]) -> dict[str, Any]:
    return {name: None if shape is None else list(shape) for name, shape in shapes.items()}
