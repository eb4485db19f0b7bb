"""Stand-in for torchvision while timm or mmpretrain are imported.

Both import it for transforms of images, which no backbone needs, and it must be of the very release
of PyTorch. Where it is installed nothing changes.
"""

import contextlib
import enum
import importlib.util
import sys
import types
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import torch

NAME = 'torchvision'
# Must be of the same release as PyTorch.
INSTALL = f'python -m pip install torchvision torch=={torch.__version__.partition("+")[0]}'
MODES = ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')


class Missing:
    """Stands for the classes and functions of torchvision.

    Raises:
        ModuleNotFoundError: When it is called.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ModuleNotFoundError(
            f'expected the library torchvision, got none installed; fix: {INSTALL}', name=NAME
        )


class _Module(types.ModuleType):
    """A module with every submodule and every name."""

    InterpolationMode = enum.Enum('InterpolationMode', {mode.upper(): mode for mode in MODES})

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return Missing


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.split('.')[0] == NAME else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def without_torchvision() -> Iterator[None]:
    """Let imports of torchvision succeed where it is not installed; it is gone again afterwards."""
    if importlib.util.find_spec(NAME) is not None:
        yield
        return
    finder = _Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split('.')[0] == NAME]:
            del sys.modules[name]
