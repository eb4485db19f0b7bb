"""Random numbers that are a function of where they are drawn."""

import random

import numpy as np
import torch
from torch.utils.data import get_worker_info


def seed_everything(*key: int) -> None:
    """Set Python's, numpy's and PyTorch's random state.

    Data workers set that of the CPU alone.

    The state depends on ``key`` alone: not on what was drawn before, the
    process, or a restart.

    Args:
        *key (int): Numbers from 0, such as a seed, an epoch and a position.
    """
    numbers = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(numbers[0]))
    np.random.seed(int(numbers[1]))
    if get_worker_info() is None and torch.accelerator.is_available():
        torch.manual_seed(int(numbers[2]))
    else:  # the same for the CPU, a hundred times as fast
        torch.default_generator.manual_seed(int(numbers[2]))
