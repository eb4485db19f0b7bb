"""Places of outputs that cannot be right, refused before any work."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cnnlstm_mm.video_files import check_name


def check_outputs(
    inputs: Iterable[Any], files: Mapping[str, Any], folders: Mapping[str, Any] | None = None
) -> None:
    """Raise an error unless each output has a place of its own, where it can be made.

    Args:
        inputs: What is read, which no output may replace; names of no file are passed over.
        files: Paths by the names of their options. None, '-', devices and pipes are passed over.
        folders: Likewise, of folders.

    Raises:
        ValueError: With the option and the path.
    """
    taken = {os.path.realpath(path): 'is read' for path in inputs if os.path.isfile(path or '')}
    for option, path in files.items():
        if path is None or str(path) == '-' or _is_special(path):
            continue
        check_name(path)
        if os.path.isdir(path):
            raise ValueError(f'{option}: expected a file, got the folder {path}')
        place = os.path.realpath(path)
        if place in taken:
            raise ValueError(
                f'{option}: expected a file of its own, got {path}, which {taken[place]}; fix: '
                'name another'
            )
        taken[place] = f'is that of {option}'
        _check_folder(option, Path(path).parent)
    for option, path in (folders or {}).items():
        if path is not None:
            check_name(path)
            _check_folder(option, Path(path))


def _is_special(path: Any) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _check_folder(option: str, folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f'{option}: expected a folder, got the file {there}')
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f'{option}: expected a folder that can be written to, got {there}')
