"""State of a batch of streams, in any array library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class BaseStreamState:
    """Recurrent state of a batch of N streams, of constant size.

    It holds all that a model remembers of its streams, so it can be pickled, split and joined at
    will. All zeros is the state of a stream before its first frame.

    Attributes:
        tensors: arrays by name, each [N, ...]: float32, and int64 counters of the frames seen.
        model: fingerprint of the weights.
    """

    tensors: dict[str, Any]
    model: str

    xp: ClassVar[Any]  # the array library: numpy or torch

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    @property
    def steps(self) -> Any:
        """Frames seen by each stream, int64 [N]."""
        return self.tensors['neck.count']

    def select(self, index: Sequence[int] | Sequence[bool] | Any) -> Self:
        """Return a new state with some of the streams.

        Args:
            index: stream numbers, in the order wanted, or a bool mask [N].
        """
        rows = self._array(index if len(index) else np.zeros(0, np.int64))
        return self._map(lambda tensor: tensor[rows])

    def reset(self, mask: Sequence[bool] | Any) -> Self:
        """Return a new state in which some streams start over.

        Args:
            mask: bool [N], True for the streams to reset.

        Raises:
            ValueError: if ``mask`` has another type or shape.
        """
        mask = self._array(mask)
        if not str(mask.dtype).endswith('bool') or mask.shape != (len(self),):
            raise ValueError(
                f'expected mask to be bool [{len(self)}], one entry per stream, got '
                f'{mask.dtype} {list(mask.shape)}'
            )
        return self._map(
            lambda tensor: self.xp.where(
                mask.reshape(-1, *[1] * (tensor.ndim - 1)), self.xp.zeros_like(tensor), tensor
            )
        )

    @classmethod
    def cat(cls, states: Sequence[Self]) -> Self:
        """Join the streams of several states into one batch.

        Raises:
            ValueError: if they belong to different models or frame sizes.
        """
        first = states[0]
        held = [
            (state.model, {name: tuple(t.shape[1:]) for name, t in state.tensors.items()})
            for state in states
        ]
        if any(other != held[0] for other in held):
            raise ValueError(
                f'expected states of one model and frame size, got different models or frame '
                f'sizes: {held}'
            )
        return cls(
            {
                name: cls.xp.concatenate([state.tensors[name] for state in states])
                for name in first.tensors
            },
            first.model,
        )

    def _array(self, values: Any) -> Any:
        return self.xp.asarray(values)

    def _map(self, function: Callable[[Any], Any]) -> Self:
        return type(self)(
            {name: function(tensor) for name, tensor in self.tensors.items()}, self.model
        )
