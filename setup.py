"""Builds configs, tools and the model index into ``cnnlstm_mm/.mim``, as MMAction2 has them.

mim, mmengine's ``get_config('cnnlstm_mm::mobilenet_convlstm_ucf101.py')`` and the command
``cnnlstm-mm`` read them there. An editable installation gets links. All else is in setup.cfg.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PARTS = ('configs', 'tools', 'model-index.yml')


class BuildWithMim(build_py):
    """``build_py`` with the folder ``.mim``."""

    def run(self) -> None:
        """Build the package and the folder, or its links."""
        super().run()
        root = Path(__file__).resolve().parent
        place = (root if self.editable_mode else Path(self.build_lib)) / 'cnnlstm_mm/.mim'
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for part in PARTS:
            source, target = root / part, place / part
            if self.editable_mode:
                os.symlink(os.path.relpath(source, place), target, source.is_dir())
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target)


setup(cmdclass=dict(build_py=BuildWithMim))
