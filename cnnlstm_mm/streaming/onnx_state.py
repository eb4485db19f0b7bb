"""State of a batch of streams, in numpy."""

from dataclasses import dataclass

import numpy as np

from .base_state import BaseStreamState


@dataclass(frozen=True)
class OnnxStreamState(BaseStreamState):
    """State of N streams: numpy ``tensors`` [N, ...] by name, ``model``, a hash of the weights."""

    xp = np
