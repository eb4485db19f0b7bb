"""The state of a batch of streams, in numpy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class OnnxStreamState:
    """All that an ONNX step model knows of its streams, of constant size.

    The counterpart of :class:`StreamState` without PyTorch: it can be
    pickled, taken apart and put together. All zeros is a stream that has not
    begun.

    Attributes:
        tensors (dict[str, ndarray]): By name, each [N, ...] with one entry a
            stream: float32, and int64 counters of the steps seen.
        model (str): The fingerprint of the weights that it belongs to.
    """

    tensors: dict[str, np.ndarray]
    model: str

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    @property
    def steps(self) -> np.ndarray:
        """How many frames each stream has seen: int64 [N]."""
        return self.tensors['neck.count']

    def select(self, index: np.ndarray | Sequence[int] | Sequence[bool]) -> 'OnnxStreamState':
        """Take some streams, in this order: the others leave.

        Args:
            index (ndarray or Sequence): Numbers of streams, or bool [N].

        Returns:
            OnnxStreamState: A new state.
        """
        index = np.asarray(index)
        if not index.size:
            index = index.astype(np.int64)
        return self._map(lambda tensor: tensor[index])

    @staticmethod
    def cat(states: Sequence['OnnxStreamState']) -> 'OnnxStreamState':
        """Put the streams of several states into one batch.

        Args:
            states (Sequence[OnnxStreamState]): At least one, all of one model.

        Returns:
            OnnxStreamState: A new state.

        Raises:
            ValueError: If they belong to different models.
        """
        models = {state.model for state in states}
        if len(models) != 1:
            raise ValueError(f'these states belong to different models: {sorted(models)}')
        return OnnxStreamState(
            {
                name: np.concatenate([state.tensors[name] for state in states])
                for name in states[0].tensors
            },
            states[0].model,
        )

    def _map(self, function: Callable[[np.ndarray], np.ndarray]) -> 'OnnxStreamState':
        return OnnxStreamState(
            {name: function(tensor) for name, tensor in self.tensors.items()}, self.model
        )
