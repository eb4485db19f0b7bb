"""State of a batch of streams, in numpy."""

from dataclasses import dataclass

import numpy as np

from .base_state import BaseStreamState


@dataclass(frozen=True)
class OnnxStreamState(BaseStreamState):
    """The state of N streams as numpy arrays, see :class:`BaseStreamState`."""

    xp = np
