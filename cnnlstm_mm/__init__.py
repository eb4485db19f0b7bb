"""Recurrent video models for MMAction2: importing this package registers them.

A config needs ``custom_imports = dict(imports=['cnnlstm_mm'])`` and nothing else. The fixes that
MMAction2 1.2.0 needs on current PyTorch are applied before any of its modules is imported.

Before mmengine is imported, that waits for the first import of mmengine, mmcv, MMAction2 or a part
of this package that needs them: ``from cnnlstm_mm.layers import ConvLSTM`` needs PyTorch alone, and
where PyTorch or MMAction2 is not installed, ``cnnlstm_mm.streaming.OnnxStreamingRecognizer`` still
works.
"""

import importlib
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec

from cnnlstm_mm.version import __version__

__all__ = [
    '__version__',
    'captions',
    'compat',
    'datasets',
    'engine',
    'features',
    'models',
    'visualization',
]
PARTS = tuple(__all__[1:])
# These import PyTorch at most.
LIGHT = set(
    '__main__ cli commands lab layers options resources storage text version video_files'.split()
)
OPENMMLAB = ('mmengine', 'mmcv', 'mmaction')


class _Deferred:
    """A finder that registers the models before what needs them is imported."""

    pending, missing = True, None

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        package, _, part = name.partition('.')
        if not self.pending or package not in (*OPENMMLAB, __name__):
            return None
        if package == __name__ and part.split('.')[0] in LIGHT:
            return None
        try:
            self.register()
        except Exception:
            if package in ('mmaction', __name__):
                raise
            self.pending = True  # mmengine is of use without MMAction2, whose import says it again
        module = sys.modules.get(name)
        return None if module is None else ModuleSpec(name, _Loaded(module))

    def register(self) -> None:
        self.pending = False
        try:
            importlib.import_module('.compat', __name__).apply()
            for part in PARTS:
                importlib.import_module(f'.{part}', __name__)
        except ModuleNotFoundError as error:
            if error.name not in ('torch', 'mmengine', 'mmcv', 'mmaction'):
                raise
            self.missing = error.name


class _Loaded(Loader):
    """The loader of a module that registering has loaded while it was looked for."""

    def __init__(self, module) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec):
        return self.module

    def exec_module(self, module) -> None:
        module.__spec__ = self.spec


def __getattr__(name: str):
    if name not in PARTS:
        raise AttributeError(f'module {__name__!r} has no {name!r}')
    if not _deferred.pending:
        raise ModuleNotFoundError(
            f'cnnlstm_mm.{name} needs {_deferred.missing}, which is not installed: '
            'pip install cnnlstm_mm with its requirements.',
            name=_deferred.missing,
        )
    _deferred.register()
    return getattr(sys.modules[__name__], name)


_deferred = _Deferred()
if 'mmengine' in sys.modules:
    _deferred.register()
else:
    sys.meta_path.insert(0, _deferred)
