"""Weights of a checkpoint, compared with the model before they go in."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model
from torch import Tensor, nn

from cnnlstm_mm.text import truncate_list


class Differences(NamedTuple):
    """What a checkpoint and a model do not share.

    Attributes:
        missing (list[str]): Weights of the model that are not in the file.
        unexpected (list[str]): Weights of the file that are not in the model.
        reshaped (list[str]): Weights of both in two shapes, with these.
        fitting (int): How many fit.
    """

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    fitting: int


def weights_in(checkpoint: Any, filename: str) -> dict[str, Tensor]:
    """The weights by name, without the prefix of a wrapped model.

    Args:
        checkpoint (dict): What was loaded: a state dict, or one with
            ``state_dict`` in it.
        filename (str): Its file, for the message.

    Returns:
        dict[str, Tensor]: The weights.

    Raises:
        ValueError: If it holds anything else.
    """
    cure = (
        'A checkpoint is a dict of tensors by name, or one that holds it '
        'as state_dict: torch.save(dict(state_dict=model.state_dict()), '
        'PATH).'
    )
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{filename} holds a {type(checkpoint).__name__} and no weights. {cure}')
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict) or not state:
        raise ValueError(f'{filename} holds no weights. {cure}')
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(
                f'{filename} holds a {type(value).__name__} as {name!r} among its weights. {cure}'
            )
    return {re.sub(r'^module\.', '', name): value for name, value in state.items()}


def refuse_nan(checkpoint: Any, filename: str) -> None:
    """Refuse weights that hold NaN.

    Infinity is let pass where no model is known: masks in attention are made
    of it.

    Args:
        checkpoint (Any): What was loaded; anything but weights is passed over.
        filename (str): Its file, for the message.

    Raises:
        ValueError: With the file and the names.
    """
    if not isinstance(checkpoint, dict):
        return
    state = checkpoint.get('state_dict', checkpoint)
    if isinstance(state, dict):
        _refuse_where(state, filename, torch.isnan)


def compare(state: dict[str, Tensor], model: nn.Module, filename: str) -> Differences:
    """Compare weights with a model, which must be of numbers.

    Args:
        state (dict[str, Tensor]): See :func:`weights_in`.
        model (nn.Module): Without a wrapper.
        filename (str): The file, for the message.

    Returns:
        Differences: Counters of batch norms left aside.

    Raises:
        ValueError: If weights hold NaN or infinity, or no real numbers; with
            the file and the names.
    """
    own = model.state_dict()
    there = {name: state[name] for name in own if name in state}
    kinds = [
        f'{name}: {value.dtype}'
        for name, value in there.items()
        if value.is_complex()
        or value.is_sparse
        or value.is_floating_point() != own[name].is_floating_point()
    ]
    if kinds:
        raise ValueError(
            f'{filename} has weights of another kind than the '
            f'model: {truncate_list(kinds)}. It was not made for it.'
        )
    _refuse_where(there, filename, lambda value: ~value.isfinite())
    reshaped = [
        f'{name} {list(value.shape)}, the model has {list(own[name].shape)}'
        for name, value in there.items()
        if value.shape != own[name].shape
    ]
    return Differences(
        [name for name in own if name not in state and not name.endswith('num_batches_tracked')],
        [name for name in state if name not in own],
        reshaped,
        len(there) - len(reshaped),
    )


def load_whole(model: nn.Module, filename: str) -> dict[str, Any]:
    """Load weights that must be all of the model's, and numbers.

    Args:
        model (nn.Module): Receives them.
        filename (str): The checkpoint.

    Returns:
        dict: All that it holds.

    Raises:
        RuntimeError: If it cannot be read, or does not fit.
        ValueError: If it holds no weights, or some that are NaN or infinite.
    """
    checkpoint = _load_checkpoint(filename, map_location='cpu')
    compare(weights_in(checkpoint, filename), model, filename)
    try:
        _load_checkpoint_to_model(model, checkpoint, strict=True)
    except RuntimeError as error:
        raise RuntimeError(f'{filename} does not fit the config: {error}') from None
    return checkpoint


def unwrap_model(model: Any) -> nn.Module:
    """The model inside a wrapper for distributed training, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and bytes of a state dict, the same in every process."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        raw = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def model_id(model: nn.Module) -> str:
    """Short name of a model's weights: 16 hexadecimal digits of their hash."""
    return state_hash(model.state_dict())[:16]


def _refuse_where(state: dict[str, Any], filename: str, bad: Any) -> None:
    names = [
        name
        for name, value in state.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and not value.is_sparse
        and bool(bad(value).any())
    ]
    if names:
        raise ValueError(
            f'{filename} has NaN or infinity in {len(names)} of {len(state)} '
            f'weights: {truncate_list(names)}. Its training '
            'diverged or the file is damaged: take an earlier checkpoint.'
        )
