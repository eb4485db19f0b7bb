"""Atomic writes: after a kill or on a full disk a file is the old one or the new one."""

import contextlib
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PART = re.compile(r'\.(.+)\.\d+\.part(?:\.\w+)?')


@contextlib.contextmanager
def atomic_path(
    path: str | Path, verify: Callable[[Path], None] | None = None, suffix: str = ''
) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` at the end of the block.

    The file is flushed to the disk before the rename and its folder after it. Links are
    followed; devices and pipes, such as /dev/stdout, are written directly.

    Args:
        path: The file; its folder is made.
        verify: Called with the flushed temporary file before the rename, to raise an error.
        suffix: Ending of the temporary name, such as '.avi', for writers that go by it.

    Raises:
        OSError: If the file cannot be written. ``path`` is then as it was.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.part{suffix}')
    try:
        yield temporary
        with temporary.open('r+b') as file:
            os.fsync(file.fileno())
        if verify is not None:
            verify(temporary)
        os.replace(temporary, target)
    except Exception as error:
        if not is_full(error, target.parent):
            raise
        code = getattr(error, 'errno', None) or errno.ENOSPC
        reason = f'{os.strerror(code)}, what was there before is intact'
        raise OSError(code, reason, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def write_json(path: str | Path, value: Any, **options: Any) -> None:
    """Write a JSON file atomically; ``options`` are those of ``json.dumps``."""
    write_text(path, json.dumps(value, **options) + '\n')


def remove_parts(folder: str | Path, target: str | None = None) -> None:
    """Remove what killed processes left of :func:`atomic_path`; call it under the lock.

    Args:
        folder: Its subfolders stay as they are.
        target: Name of the file whose parts are removed; None for all.
    """
    for name in os.listdir(folder):
        match = PART.fullmatch(name)
        if match and target in (None, match[1]):
            Path(folder, name).unlink(missing_ok=True)


def is_full(error: Exception, folder: Path) -> bool:
    """Whether an error comes from a full disk, or a quota; ``folder`` was written to.

    Libraries such as safetensors and torch, and other programs, have errors of their own.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in FULL
    return os.strerror(errno.ENOSPC) in str(error) or not shutil.disk_usage(folder).free


def raise_if_full(error: Exception, folder: Path, path: Path) -> None:
    """Raise OSError, naming ``path``, where a full disk is to blame; see :func:`is_full`."""
    if is_full(error, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None


def _sync_folder(folder: Path) -> None:
    # Windows opens no folders, and some network file systems cannot flush them.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
