"""Recurrent video models for MMAction2: importing this package registers them.

A config needs ``custom_imports = dict(imports=['cnnlstm_mm'])`` and nothing
else. The fixes that MMAction2 1.2.0 needs on current PyTorch are applied
before any of its modules is imported.
"""
from cnnlstm_mm import compat

compat.apply()

from cnnlstm_mm import datasets, engine, models, visualization  # noqa: E402
from cnnlstm_mm.version import __version__  # noqa: E402

__all__ = ['__version__', 'compat', 'datasets', 'engine', 'models', 'visualization']
