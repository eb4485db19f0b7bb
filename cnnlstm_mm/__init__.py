"""Recurrent video models for MMAction2: importing this package registers them.

A config needs ``custom_imports = dict(imports=['cnnlstm_mm'])`` and nothing
else. The fixes that MMAction2 1.2.0 needs on current PyTorch are applied
before any of its modules is imported.

Where PyTorch or MMAction2 is not installed nothing is registered, and
``cnnlstm_mm.streaming.OnnxStreamingRecognizer`` still works.
"""

from cnnlstm_mm.version import __version__

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'features', 'models', 'visualization']

try:
    from cnnlstm_mm import compat

    compat.apply()

    from cnnlstm_mm import datasets, engine, features, models, visualization
except ModuleNotFoundError as error:
    if error.name not in ('torch', 'mmengine', 'mmcv', 'mmaction'):
        raise
    _missing = error.name

    def __getattr__(name: str) -> None:
        if name not in __all__:
            raise AttributeError(f'module {__name__!r} has no {name!r}')
        raise ModuleNotFoundError(
            f'cnnlstm_mm.{name} needs {_missing}, which is not installed: '
            'pip install cnnlstm_mm with its requirements.',
            name=_missing,
        )
