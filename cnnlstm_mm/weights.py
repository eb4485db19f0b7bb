"""Weights of a checkpoint, compared with the model before they are loaded."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model
from torch import Tensor, nn

from cnnlstm_mm.text import truncate_list


class Differences(NamedTuple):
    """Weights that a checkpoint and a model do not share.

    Attributes:
        missing: In the model alone; counters of batch norms left aside.
        unexpected: In the file alone.
        reshaped: In both with two shapes, which follow the name.
        fitting: How many fit.
    """

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    fitting: int

    def __str__(self) -> str:
        parts = dict(zip(('Missing keys', 'Unexpected keys', 'Other shapes'), self[:3]))
        return ' '.join(
            f'{title}: {truncate_list(names)}.' for title, names in parts.items() if names
        )


def unwrap_model(model: Any) -> nn.Module:
    """The model inside a wrapper such as DDP, or ``model`` itself."""
    return model.module if is_model_wrapper(model) else model


def check_device(device: Any) -> None:
    """Raise ValueError unless PyTorch can use a device here."""
    try:
        torch.zeros(1, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device: expected cpu or a GPU here, got {device} ({reason}); fix: name cpu, or '
            'install a PyTorch that knows this device'
        ) from None


def extract_state_dict(checkpoint: Any, filename: str) -> dict[str, Tensor]:
    """Weights by name, without the prefix of a wrapped model.

    Args:
        checkpoint: A state dict, or a dict with ``state_dict`` in it.
        filename: For the message.

    Raises:
        ValueError: If it holds anything else.
    """
    fix = 'fix: save a plain state dict, torch.save(dict(state_dict=model.state_dict()), PATH).'
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise ValueError(
            f'{filename}: expected tensors by name, got a {kind} without weights; {fix}'
        )
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, dict) or not state:
        raise ValueError(f'{filename}: expected tensors by name, got no weights; {fix}')
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise ValueError(f'{filename}: expected tensors by name, got {name!r}: {kind}; {fix}')
    return {re.sub(r'^module\.', '', name): value for name, value in state.items()}


def compare(state: dict[str, Tensor], model: nn.Module, filename: str) -> Differences:
    """Compare weights with those of an unwrapped model.

    Raises:
        ValueError: If a weight of the model holds NaN or infinity, or is of another kind of number
            than in the model; with the file and the names.
    """
    own = model.state_dict()
    shared = {name: state[name] for name in own if name in state}
    kinds = [
        f'{name}: {value.dtype}'
        for name, value in shared.items()
        if value.is_complex()
        or value.is_sparse
        or value.is_floating_point() != own[name].is_floating_point()
    ]
    if kinds:
        raise ValueError(
            f"{filename}: expected the model's kinds of numbers, got {truncate_list(kinds)}; fix: "
            'name a checkpoint of this model.'
        )
    _check_values(shared, filename, lambda value: ~value.isfinite())
    reshaped = [
        f'{name} {list(value.shape)}, the model has {list(own[name].shape)}'
        for name, value in shared.items()
        if value.shape != own[name].shape
    ]
    return Differences(
        [name for name in own if name not in state and not name.endswith('num_batches_tracked')],
        [name for name in state if name not in own],
        reshaped,
        len(shared) - len(reshaped),
    )


def load_complete(model: nn.Module, filename: str) -> dict[str, Any]:
    """Load a complete, finite state dict.

    Returns:
        The whole checkpoint.

    Raises:
        RuntimeError: If it cannot be read, or does not fit.
        ValueError: If it holds no weights, or some that are NaN or infinite.
    """
    checkpoint = _load_checkpoint(filename, map_location='cpu')
    compare(extract_state_dict(checkpoint, filename), model, filename)
    try:
        _load_checkpoint_to_model(model, checkpoint, strict=True)
    except RuntimeError as error:
        raise RuntimeError(f'{filename} does not fit the config: {error}') from None
    return checkpoint


def check_pretrained(model: nn.Module) -> None:
    """Refuse a module that was told to start from a checkpoint and has nothing of it.

    mmengine only warns of names that do not fit. Values are compared, because backbones rename
    what they read.

    Args:
        model: Initialized; ``init_cfg`` of type Pretrained and ``pretrained`` of its modules count.

    Raises:
        ValueError: With the file, and names of both.
    """
    for module in model.modules():
        filename = _pretrained_file(module)
        own = {k: v for k, v in module.state_dict().items() if v.dim() > 1}
        if filename is None or not own:
            continue
        checkpoint = _load_checkpoint(filename, map_location='cpu')
        state = extract_state_dict(checkpoint, filename)
        known = {_start(value) for value in state.values()}
        if not any(_start(value) in known for value in own.values()):
            raise ValueError(
                f'{filename}: expected weights of a {type(module).__name__} such as '
                f'{truncate_list(list(own), 2)}, got none, but {truncate_list(list(state), 2)}; '
                'fix: name a checkpoint of this backbone, with prefix= in init_cfg where its names '
                'have one more, such as prefix="backbone."'
            )


def _pretrained_file(module: nn.Module) -> str | None:
    configs = getattr(module, 'init_cfg', None) or []
    for config in [configs] if isinstance(configs, dict) else configs:
        if config.get('type') == 'Pretrained':
            return config['checkpoint']
    pretrained = getattr(module, 'pretrained', None)
    return pretrained if isinstance(pretrained, str) else None


def _start(value: Tensor) -> tuple[Any, ...]:
    return (*value.shape, *value.detach().flatten()[:16].float().tolist())


def check_no_nan(model: nn.Module, source: str) -> None:
    """Refuse a model with NaN in its weights or buffers.

    Infinity passes: masks in attention are made of it.

    Args:
        model: Wrapped or not.
        source: Where the weights come from, for the message.

    Raises:
        ValueError: With the names.
    """
    model = unwrap_model(model)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    _check_values(state, source, torch.isnan)


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


def _check_values(
    state: dict[str, Tensor], source: str, is_bad: Callable[[Tensor], Tensor]
) -> None:
    names = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not value.is_sparse and bool(is_bad(value).any())
    ]
    if names:
        raise ValueError(
            f'{source}: expected finite weights, got NaN or infinity in {len(names)} of '
            f'{len(state)} weights: {truncate_list(names)}; fix: take an earlier checkpoint, its '
            'training diverged or the file is damaged.'
        )
