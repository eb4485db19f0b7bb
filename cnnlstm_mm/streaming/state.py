"""The state of a batch of streams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StreamState:
    """All that a model knows of its streams, of constant size.

    It can be pickled, moved, taken apart and put together; nothing about a
    stream is kept elsewhere. All zeros is a stream that has not begun.

    Attributes:
        tensors (dict[str, Tensor]): By name, each [N, ...] with one entry a
            stream: float32, and int64 counters of the steps seen.
        model (str): The fingerprint of the weights that it belongs to.
    """

    tensors: dict[str, Tensor]
    model: str

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    @property
    def steps(self) -> Tensor:
        """How many frames each stream has seen: int64 [N]."""
        return self.tensors['neck.count']

    def to(self, device: str | torch.device) -> 'StreamState':
        """Move it to a device."""
        return self._map(lambda tensor: tensor.to(device))

    def select(self, index: Tensor | Sequence[int] | Sequence[bool]) -> 'StreamState':
        """Take some streams, in this order: the others leave.

        Args:
            index (Tensor or Sequence): Numbers of streams, or bool [N].

        Returns:
            StreamState: A new state.
        """
        index = torch.as_tensor(index)
        if not index.numel():
            index = index.long()
        return self._map(lambda tensor: tensor[index.to(tensor.device)])

    @staticmethod
    def cat(states: Sequence['StreamState']) -> 'StreamState':
        """Put the streams of several states into one batch.

        Args:
            states (Sequence[StreamState]): At least one, all of one model.

        Returns:
            StreamState: A new state.

        Raises:
            ValueError: If they belong to different models or frame sizes.
        """
        first = states[0]
        shapes = [
            {name: tensor.shape[1:] for name, tensor in state.tensors.items()} for state in states
        ]
        if any(state.model != first.model for state in states) or any(
            shape != shapes[0] for shape in shapes
        ):
            held = [(state.model, shape) for state, shape in zip(states, shapes)]
            raise ValueError(f'these states belong to different models or frame sizes: {held}')
        return StreamState(
            {name: torch.cat([state.tensors[name] for state in states]) for name in first.tensors},
            first.model,
        )

    def _map(self, function: Callable[[Tensor], Tensor]) -> 'StreamState':
        return StreamState(
            {name: function(tensor) for name, tensor in self.tensors.items()}, self.model
        )
