"""Configs of this package by ``cnnlstm_mm::NAME.py``, in mmengine's ``get_config`` and ``_base_``.

mmengine knows a fixed list of packages, expects a folder in the name, and asks pkg_resources where
a package lies, which setuptools no longer brings.
"""

import importlib
import importlib.util
from importlib import metadata
from pathlib import Path
from typing import Any

NAME = 'cnnlstm_mm'
USERS = ('mmengine.config.config', 'mmengine.config.utils', 'mmengine.hub.hub')
LOCATORS = ('mmengine.utils.package_utils', 'mmengine.utils', *USERS)


def provide_configs() -> None:
    """Let mmengine find our configs, and those of other packages without pkg_resources.

    For names of other packages, where pkg_resources is installed, nothing changes.
    """
    utils = importlib.import_module('mmengine.config.utils')
    utils.MODULE2PACKAGE.setdefault(NAME, NAME)
    original = utils._get_package_and_cfg_path
    if getattr(original, 'knows_flat_names', False):
        return

    def package_and_path(cfg_path: str) -> tuple[str, str]:
        package, mark, name = cfg_path.partition('::')
        return (NAME, name) if package == NAME and mark else original(cfg_path)

    package_and_path.knows_flat_names = True  # type: ignore[attr-defined]
    _replace(USERS, '_get_package_and_cfg_path', package_and_path)
    if importlib.util.find_spec('pkg_resources') is None:
        _replace(LOCATORS, 'get_installed_path', installed_path)
        _replace(LOCATORS, 'is_installed', is_installed)


def installed_path(package: str) -> str:
    """Folder of a package, by the name that pip installs.

    Raises:
        ModuleNotFoundError: If it is not installed, or has no folder of its own.
    """
    modules = importlib.import_module('mmengine.config.utils').MODULE2PACKAGE
    names = [module for module, name in modules.items() if name == package]
    try:
        text = metadata.distribution(package).read_text('top_level.txt') or ''
        names += text.split()
    except metadata.PackageNotFoundError:
        pass
    for name in (*names, package):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            return str(Path(spec.origin).parent)
    raise ModuleNotFoundError(f'expected the package {package}; fix: pip install {package}')


def is_installed(package: str) -> bool:
    """Whether a package is installed, by the name of pip or of its module."""
    try:
        return bool(installed_path(package))
    except (ModuleNotFoundError, ValueError):
        return False


def _replace(modules: tuple[str, ...], name: str, value: Any) -> None:
    for module in map(importlib.import_module, modules):
        if hasattr(module, name):
            setattr(module, name, value)
