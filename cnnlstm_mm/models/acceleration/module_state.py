"""Detect every change of what a module computes with."""

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cnnlstm_mm.memory import compare_bytes

REGISTERED = ('_parameters', '_buffers', '_modules')
HOOKS = ('_forward_hooks', '_forward_pre_hooks')  # all that run without gradients


class ModuleState:
    """The attributes of a module and its submodules by identity, their tensors by value.

    Attributes that are lists, sets or dicts count with all that they hold, at any depth. What lies
    elsewhere (closures, globals, other objects' attributes) is not seen.

    No counter of PyTorch's tells that a weight was written: fused optimizers, ``.data`` and numpy
    raise none, and mmengine's EMAHook swaps weights through ``.data``. So all bytes are compared.

    That costs 14 % of a call with one frame of 224 x 224 and 4 % or less with eight; a folded copy
    is faster than its backbone all the same. ``python benchmarks/folded_copy.py`` on one core of an
    AMD EPYC (Zen 4), milliseconds of CPU time:

    ============= ============== ====== ============ ============== ==============
    backbone      weights, bytes frames copy         not compared   backbone alone
    ============= ============== ====== ============ ============== ==============
    MobileNetV2   9 MB           1      12.9         11.1           15.8
    MobileNetV2   9 MB           8      96.8         93.4           167
    ResNet18      45 MB          1      41.8         36.3           47.4
    ResNet50      94 MB          1      95.0         83.0           115
    ============= ============== ====== ============ ============== ==============

    Args:
        module: The module.
        values: Compare the values, of which a copy is held; otherwise only which tensors it has.
    """

    def __init__(self, module: nn.Module, values: bool = True) -> None:
        self.modules = list(module.modules())
        self._hooks = [vars(m)[hooks] for m in self.modules for hooks in HOOKS]
        attributes = [vars(m) for m in self.modules]
        containers = [c for a in attributes for v in a.values() for c in _containers(v)]
        changing = [c for c in containers if not isinstance(c, tuple)]
        self._empty = [c for c in changing if not c]
        filled = [c for c in changing if c]
        self._dicts = attributes + [c for c in filled if isinstance(c, dict)]
        self._others = [c for c in filled if not isinstance(c, dict)]
        self._objects = list(self._current_objects())
        tensors = {id(o): o for o in self._objects if isinstance(o, Tensor)}.values()
        self._tensors = [tensor for tensor in tensors if values and tensor.numel()]
        self._views = [tensor.detach() for tensor in self._tensors]
        self._flat = [v.as_strided((v.numel(),), (1,)).view(torch.uint8) for v in self._views]
        self._bytes = torch.cat(self._flat) if self._flat else None
        self._sizes = list(map(len, self._flat))
        self._addresses: list[int] | None = None
        if self._bytes is not None and self._bytes.device.type == 'cpu':
            starts = itertools.accumulate(self._sizes[:-1], initial=self._bytes.data_ptr())
            self._addresses = list(starts)

    def _current_objects(self) -> Iterator:
        values = itertools.chain(map(dict.values, self._dicts), self._others)
        return itertools.chain.from_iterable(values)

    def has_hooks(self) -> bool:
        """Whether a hook was registered since."""
        return any(self._hooks)

    def is_current(self) -> bool:
        """Whether nothing has changed since."""
        return (
            not any(self._empty)
            and sum(map(len, self._dicts)) + sum(map(len, self._others)) == len(self._objects)
            and all(map(operator.is_, self._current_objects(), self._objects))
            and all(map(Tensor.is_set_to, self._tensors, self._views))
            and (self._bytes is None or self._has_equal_bytes())
        )

    def _has_equal_bytes(self) -> bool:
        if self._addresses is None:
            return torch.equal(torch.cat(self._flat), self._bytes)
        addresses = map(Tensor.data_ptr, self._tensors)
        return not any(map(compare_bytes, addresses, self._addresses, self._sizes))


def _containers(value: Any) -> list[Any]:
    """Lists, sets, dicts and tuples in ``value``, itself included, at any depth."""
    found: dict[int, Any] = {}
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, (list, set, dict, tuple)) and id(item) not in found:
            found[id(item)] = item
            left.extend(_values(item))
    return list(found.values())


def obstacle(module: nn.Module, device: torch.device) -> str | None:
    """Why a copy of a module cannot stand in for it, if so.

    Args:
        module: The module.
        device: Of its input.

    Returns:
        The reason: hooks, submodules in training mode, compiled ones, weights that are not plain
        dense tensors on ``device`` (sharded, distributed, borrowed for one call), or weights that
        are not registered (in a list, a numpy array).
    """
    for name, child in module.named_modules():
        where = f'{type(child).__name__} {name}'.rstrip()
        if any(getattr(child, hooks, None) for hooks in HOOKS):
            return f'{where} has hooks'
        if child.training:
            return f'{where} is in training mode'
        if getattr(child, '_compiled_call_impl', None) or hasattr(child, '_orig_mod'):
            return f'{where} is compiled'
    modules = set(module.modules())
    for name, child in module.named_modules():
        attributes = vars(child)
        for key, value in attributes.items():
            if key not in REGISTERED and (kind := _unregistered(value, modules)):
                return f'{name}.{key} holds a {kind} that is not registered'.lstrip('.')
        for kind in (child._parameters, child._buffers, attributes):
            expected = nn.Parameter if kind is child._parameters else Tensor
            for key, tensor in kind.items():
                if isinstance(tensor, Tensor) and not _is_plain(tensor, expected, device):
                    found = f'{type(tensor).__name__} on {tensor.device}'
                    return f'{name}.{key} is a {found}, not a dense {expected.__name__} on {device}'
    return None


def _values(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _unregistered(value: Any, modules: set[nn.Module]) -> str | None:
    """The type of what an attribute computes with and ``nn.Module`` does not know, if any."""
    held = [v for c in _containers(value) for v in _values(c)]
    found = [v for v in (value, *held) if isinstance(v, np.ndarray)]
    found += [v for v in held if isinstance(v, Tensor)]
    found += [v for v in (value, *held) if isinstance(v, nn.Module) and v not in modules]
    return type(found[0]).__name__ if found else None


def _is_plain(tensor: Tensor, kind: type, device: torch.device) -> bool:
    return (
        type(tensor) is kind
        and tensor.device == device
        and tensor.layout == torch.strided
        and torch.empty_like(tensor, device='meta').stride() == tensor.stride()  # dense
    )
