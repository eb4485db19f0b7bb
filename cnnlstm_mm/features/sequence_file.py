"""Sequences of vectors or maps in files of other tools."""

import io
import pickle
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

# What numpy arrays and tensors in a pickle ask for, none of which runs code
# from the file.
ALLOWED = {
    ('collections', 'OrderedDict'),
    *(
        ('numpy' + core + 'multiarray', name)
        for core in ('.core.', '._core.')
        for name in ('_reconstruct', 'scalar')
    ),
    *(('numpy' + core + 'numeric', '_frombuffer') for core in ('.core.', '._core.')),
    ('numpy', 'ndarray'),
    ('numpy', 'dtype'),
    ('torch._utils', '_rebuild_tensor_v2'),
    ('_codecs', 'encode'),  # of bytes, in arrays of pickle protocol 2
}


class ArrayUnpickler(pickle.Unpickler):
    """Reads lists, numbers, numpy arrays and tensors, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Allow what is needed for arrays and tensors; UnpicklingError for the rest."""
        if (module, name) == ('torch.storage', '_load_from_bytes'):
            # torch's own would unpickle anything.
            return lambda data: torch.load(io.BytesIO(data), weights_only=True)
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f'it asks for the code {module}.{name}, which was not run')
        return super().find_class(module, name)


def read_sequence(path: str) -> Tensor:
    """Read a sequence of any length.

    Args:
        path: .npy, .pkl (as MMAction2's clip_feature_extraction.py writes it: an array, a tensor
            or a list of them) or .safetensors with one tensor. It holds [T, C] or [T, C, h, w].

    Returns:
        Float [1, C, T, h, w], h = w = 1 for vectors.

    Raises:
        ValueError: If the file holds anything else; with the path.
    """
    try:
        if path.endswith('.npy'):
            data = np.load(path, allow_pickle=False)
        elif path.endswith('.safetensors'):
            with safe_open(path, 'pt') as file:
                (name,) = file.keys()
                data = file.get_tensor(name)
        elif path.endswith(('.pkl', '.pickle')):
            with open(path, 'rb') as file:
                data = ArrayUnpickler(file).load()
            if isinstance(data, (list, tuple)):
                data = np.stack([np.asarray(step) for step in data])
        else:
            raise ValueError('expected a .npy, .pkl or .safetensors file')
        data = torch.as_tensor(data)
    except Exception as error:
        raise ValueError(f'{path}: {error}') from error
    if data.dim() not in (2, 4) or 0 in data.shape or not data.is_floating_point():
        raise ValueError(
            f'{path}: expected float [T, C] or [T, C, h, w] with T >= 1, got {data.dtype} of shape '
            f'{tuple(data.shape)}'
        )
    if data.dim() == 2:
        data = data[:, :, None, None]
    # [T, C, h, w] -> [1, C, T, h, w]
    return data.transpose(0, 1)[None]
