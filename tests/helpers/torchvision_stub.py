"""mmpretrain and timm without torchvision.

Both import torchvision for their image transforms, which no backbone needs.
Where it is not installed (there may be none for this PyTorch), a stand-in
without content lets them import; it is gone again afterwards.
"""

import contextlib
import enum
import importlib
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Iterator


class _Nothing:
    """Stands for every class and function of torchvision."""


class _Module(types.ModuleType):
    """A module with every submodule and every name."""

    InterpolationMode = enum.Enum(
        'InterpolationMode',
        {
            name.upper(): name
            for name in ('nearest', 'bilinear', 'bicubic', 'box', 'hamming', 'lanczos')
        },
    )

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return _Nothing


class _Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition('.')[0] == 'torchvision':
            return importlib.machinery.ModuleSpec(name, cls, is_package=True)

    @staticmethod
    def create_module(spec):
        return _Module(spec.name)

    @staticmethod
    def exec_module(module):
        """Nothing is in it."""


@contextlib.contextmanager
def _torchvision() -> Iterator[None]:
    if importlib.util.find_spec('torchvision') is not None:
        yield
        return
    sys.meta_path.append(_Finder)
    try:
        yield
    finally:
        sys.meta_path.remove(_Finder)
        for name in [n for n in sys.modules if n.partition('.')[0] == 'torchvision']:
            del sys.modules[name]


def import_mmpretrain() -> None:
    """Import mmpretrain, timm and what MMAction2 makes of mmpretrain.

    Raises:
        ModuleNotFoundError: Where mmpretrain or timm is not installed.
    """
    with _torchvision():
        importlib.import_module('mmpretrain.models')
        importlib.import_module('timm')
        importlib.import_module('mmaction.models.backbones.mobileone_tsm')
