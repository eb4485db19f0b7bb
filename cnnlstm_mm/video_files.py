"""Video files below a folder, and suffixes of pictures. Imports the standard library alone."""

import os
from collections.abc import Sequence
from pathlib import Path

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')  # file suffixes
VIDEO_SUFFIXES = ('.avi', '.mp4', '.mkv', '.webm', '.mov', '.m4v', '.flv')


def check_name(path: str | os.PathLike) -> None:
    """Raise ValueError for a name that is not UTF-8, at which OpenCV 5 ends the process."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f'expected a name in UTF-8, got {os.fspath(path)!a}; fix: rename it'
        ) from None


def find_videos(root: Path, skip: Sequence[Path] = ()) -> dict[str, Path]:
    """Find all video files under a folder; each folder once, however many links lead to it.

    Args:
        root: The folder.
        skip: Folders below it that are left out, such as those of copies.

    Returns:
        File by its path below ``root``, with slashes.
    """
    found = {}
    seen = {os.path.realpath(root)}
    left_out = {os.path.join(os.path.realpath(path.parent), path.name) for path in skip}
    for folder, folders, names in os.walk(root, followlinks=True):
        place, new = os.path.realpath(folder), []
        # Links come last: what they lead to is named by its own folder.
        for name in sorted(folders, key=lambda n: (os.path.islink(os.path.join(folder, n)), n)):
            real = os.path.realpath(os.path.join(folder, name))
            if real not in seen and os.path.join(place, name) not in left_out:
                seen.add(real)
                new.append(name)
        folders[:] = new
        for name in sorted(names):
            if name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith('.'):
                path = Path(folder, name)
                found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))
