"""Random state as a function of a key."""

import random

import numpy as np
import torch
from torch.utils.data import get_worker_info


def seed_everything(*key: int) -> None:
    """Set Python's, numpy's and PyTorch's random state; in data workers the CPU's alone.

    The state depends on the key only: not on earlier draws, the process, or a restart.

    Args:
        *key: Numbers from 0, such as a seed, an epoch and a position.
    """
    numbers = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(numbers[0]))
    np.random.seed(int(numbers[1]))
    if get_worker_info() is None and torch.accelerator.is_available():
        torch.manual_seed(int(numbers[2]))
    else:  # the same for the CPU, a hundred times as fast
        torch.default_generator.manual_seed(int(numbers[2]))
