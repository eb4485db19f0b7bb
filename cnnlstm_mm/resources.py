"""Configs and scripts of the project: of the checkout, or of the installed package.

A wheel holds them in ``cnnlstm_mm/.mim``, where mim and mmengine's ``get_config`` look for them.
"""

import difflib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def resource_root() -> Path:
    """The folder that holds ``configs`` and ``tools``."""
    checkout = PACKAGE.parent
    return checkout if (checkout / 'tools/make_recipes.py').is_file() else PACKAGE / '.mim'


def recipes() -> dict[str, Path]:
    """Config files by name, in the order of the names."""
    return {path.stem: path for path in sorted((resource_root() / 'configs').glob('*.py'))}


def find_config(config: str) -> str:
    """Find a config: a file, or the name of a recipe, with or without its folder and ``.py``.

    Raises:
        FileNotFoundError: If there is none; with the names that are close.
    """
    if Path(config).exists():
        return config
    name, known = Path(config).name.removesuffix('.py'), recipes()
    if name in known and Path(config).parent in (Path('.'), Path('configs')):
        return str(known[name])
    close = difflib.get_close_matches(name, known, 3)
    fix = f'take {" or ".join(close)}' if close else '`cnnlstm-mm configs` lists the recipes'
    raise FileNotFoundError(
        f'expected a config file or the name of a recipe, got {config}; fix: {fix}'
    )
