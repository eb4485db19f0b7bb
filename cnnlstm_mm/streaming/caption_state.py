"""State of streams that are captioned: the encoder's, and what the decoder attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base_state import BaseStreamState


@dataclass(frozen=True)
class CaptionState:
    """The state of N streams; it can be pickled, split and joined at will.

    Attributes:
        encoder: of backbone and neck.
        memory: of each stream its steps, [T, ...], which may differ in T.
    """

    encoder: BaseStreamState
    memory: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.memory)

    @property
    def steps(self) -> Any:
        """Frames seen by each stream, int64 [N]."""
        return self.encoder.steps

    def select(self, index: Sequence[int] | Sequence[bool] | Any) -> CaptionState:
        """Return a new state with some of the streams: their numbers, or a bool mask [N]."""
        rows = np.arange(len(self))[np.asarray(index, None if len(index) else np.int64)]
        return CaptionState(self.encoder.select(index), tuple(self.memory[k] for k in rows))

    def reset(self, mask: Sequence[bool] | Any) -> CaptionState:
        """Return a new state in which the streams of a bool mask [N] start over."""
        encoder = self.encoder.reset(mask)
        pairs = zip(np.asarray(mask).tolist(), self.memory)
        return CaptionState(encoder, tuple(rows[:0] if new else rows for new, rows in pairs))

    @classmethod
    def cat(cls, states: Sequence[CaptionState]) -> CaptionState:
        """Join the streams of several states into one batch.

        Raises:
            ValueError: if they belong to different models or frame sizes.
        """
        encoder = type(states[0].encoder).cat([state.encoder for state in states])
        return cls(encoder, tuple(rows for state in states for rows in state.memory))
