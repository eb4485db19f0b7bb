"""State of a batch of streams, in PyTorch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .base_state import BaseStreamState


@dataclass(frozen=True)
class StreamState(BaseStreamState):
    """State of N streams: ``tensors`` [N, ...] by name, and ``model``, a hash of the weights."""

    xp = torch

    def to(self, device: str | torch.device) -> 'StreamState':
        """Return a copy on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def _array(self, values: Any) -> Tensor:
        return torch.as_tensor(values, device=next(iter(self.tensors.values())).device)
