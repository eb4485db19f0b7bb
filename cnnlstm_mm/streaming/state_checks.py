"""Validate stream states and explain what is wrong."""

import operator
from functools import reduce
from typing import Any

import numpy as np

from .base_state import BaseStreamState

# Of each tensor of a state: its shape without the batch, and its dtype.
Layout = dict[str, tuple[tuple[int, ...], Any]]

CURES = dict(
    state='start these streams over, rec.reset(state, mask)',
    frames='pass uint8 RGB, which prepare() normalizes',
    scores='check the weights of the checkpoint',
)


def layout(tensors: dict[str, Any]) -> Layout:
    """Return shape and dtype of each tensor; None for a value without them."""
    return {
        name: (tuple(value.shape[1:]), value.dtype) if getattr(value, 'ndim', 0) else None
        for name, value in tensors.items()
    }


def check_state(
    state: Any, kind: type[BaseStreamState], model: str, batch: int, wanted: Layout
) -> None:
    """Check that a state belongs to a model and its frames.

    Args:
        state: the state before the frames.
        kind: the class that the recognizer uses.
        model: fingerprint of the recognizer's weights.
        batch: number of frames, one per stream.
        wanted: layout of a state for frames of this size.

    Raises:
        ValueError: with what was expected, what was found and the fix.
    """
    if not isinstance(state, kind):
        raise ValueError(
            f'expected the {kind.__name__} that an earlier step returned, got a '
            f'{type(state).__name__}; fix: pass state=None to begin new streams'
        )
    if state.model != model:
        raise ValueError(
            f'expected a state of the model {model}, got one that belongs to the model '
            f'{state.model}; fix: begin new streams after a change of weights, state=None'
        )
    found = layout(state.tensors)
    if found != wanted:
        raise ValueError(
            f'expected a state of {wanted} for frames of this size, got {found}; fix: a stream '
            'keeps its frame size and dtypes, so begin a new one, state=None'
        )
    sizes = sorted({len(tensor) for tensor in state.tensors.values()})
    if sizes != [batch]:
        raise ValueError(
            f'expected one frame per stream, got {batch} frames for a state of '
            f'{" and ".join(map(str, sizes))} streams; fix: add streams by '
            f'{kind.__name__}.cat([state, rec.init_state(n)]), remove them by state.select(index)'
        )


def check_finite(xp: Any, **parts: list[Any]) -> None:
    """Check that a step took and gave numbers.

    The host waits for the device once, for the answer to all checks.

    Args:
        xp: numpy or torch.
        **parts: arrays [N, ...] named 'state', 'frames' or 'scores': float32, or counters.

    Raises:
        ValueError: if a float is NaN or infinite, or a counter negative; with the first such part,
            its streams and the fix.
    """
    sound = (_sound(xp, value).all() for values in parts.values() for value in values)
    if reduce(operator.and_, sound):
        return
    for name, values in parts.items():
        bad = ~xp.stack([_sound(xp, value).reshape(len(value), -1).all(1) for value in values]).all(
            0
        )
        if bad.any():
            raise ValueError(
                f'expected finite numbers, got NaN, infinity or a negative counter in the {name} '
                f'of the streams {np.flatnonzero(bad.tolist()).tolist()}; fix: {CURES[name]}'
            )


def _sound(xp: Any, value: Any) -> Any:
    return xp.isfinite(value) if value.dtype == xp.float32 else value >= 0
