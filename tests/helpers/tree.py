"""What a folder holds, to compare it before and after."""

import hashlib
import os
from pathlib import Path


def snapshot(root, times=True) -> dict[str, tuple]:
    """Kind, and bytes or target, of everything in a folder or of a file; links are not followed."""
    root = Path(root)
    found = {'.': describe(root, times)}
    for place, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(place, name)
            found[path.relative_to(root).as_posix()] = describe(path, times)
    return found


def describe(path: Path, times: bool) -> tuple:
    if path.is_symlink():
        return 'link', os.readlink(path)
    if path.is_dir():
        return ('folder',)
    if not path.is_file():
        return 'other', os.stat(path).st_mode
    stat = path.stat()
    written = (stat.st_ino, stat.st_mtime_ns) if times else ()
    return 'file', *written, hashlib.sha256(path.read_bytes()).hexdigest()
