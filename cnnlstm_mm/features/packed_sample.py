"""Data samples as JSON: labels, meta information, and tensors with their types."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmaction.structures import ActionDataSample

KIND = '_kind'  # key of a dict that stands for a tensor, an array or a tuple


def pack_sample(sample: ActionDataSample) -> dict[str, dict[str, Any]]:
    """Fields and meta information of a data sample, without its file name.

    Raises:
        ValueError: For anything but numbers, texts, tensors, arrays, and lists and dicts of
            them; with its name.
    """
    meta = {key: value for key, value in sample.metainfo_items() if key != 'filename'}
    try:
        return dict(fields=pack(dict(sample.items())), meta=pack(meta))
    except TypeError as error:
        raise ValueError(
            'expected numbers, texts, tensors and arrays in the data sample, got '
            f'{error} for {sample.metainfo.get("filename")}; fix: take it out of the keys of '
            'PackActionInputs'
        ) from None


def unpack_sample(packed: dict[str, dict[str, Any]]) -> ActionDataSample:
    """Restore the data sample from the result of :func:`pack_sample`."""
    sample = ActionDataSample(metainfo=unpack(packed['meta']))
    for key, value in unpack(packed['fields']).items():
        sample.set_field(value, key)
    return sample


def pack(value: Any) -> Any:
    """Convert a value for ``json.dumps``; :func:`unpack` restores it.

    Raises:
        TypeError: With the type that cannot be packed.
    """
    if isinstance(value, Tensor):
        return {KIND: 'tensor', 'dtype': str(value.dtype)[6:], 'data': value.tolist()}
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        return {KIND: 'array', 'dtype': str(value.dtype), 'data': value.tolist()}
    if isinstance(value, tuple):
        return {KIND: 'tuple', 'data': pack(list(value))}
    if isinstance(value, list):
        return [pack(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: pack(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(type(value).__name__)


def unpack(value: Any) -> Any:
    """Restore the value given to :func:`pack`; a numpy scalar becomes an array."""
    if isinstance(value, list):
        return [unpack(part) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind == 'tensor':
        return torch.tensor(value['data'], dtype=getattr(torch, value['dtype']))
    if kind == 'array':
        return np.array(value['data'], value['dtype'])
    if kind == 'tuple':
        return tuple(unpack(value['data']))
    return {key: unpack(part) for key, part in value.items()}
