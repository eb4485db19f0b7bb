"""The folder that a tool writes, and nothing outside of it."""

import os
from collections.abc import Iterable
from pathlib import Path

from .atomic import remove_parts, write_text


def is_below(path: str | Path, root: str | Path) -> bool:
    """Whether the real path, with all links followed, is a folder or lies below it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


class OutputFolder:
    """Writes, links and removes below a folder; links that lead out of it are not followed.

    Args:
        root: The folder, which may be a link itself.
        inputs: The user's own folders, which stay as they are even below ``root``.
    """

    def __init__(self, root: str | Path, inputs: Iterable[str | Path] = ()) -> None:
        self.root = Path(root)
        self.inputs = [Path(folder) for folder in inputs if not is_below(root, folder)]

    def check_file(self, path: str | Path) -> Path:
        """Return a path to write a file to.

        Raises:
            ValueError: If links lead out of the folder or into one of the inputs; with the cure.
        """
        return self._check(Path(path), Path(os.path.realpath(path)))

    def check_entry(self, path: str | Path) -> Path:
        """Return a path whose folder entry, such as a link, is to be made, replaced or removed.

        Raises:
            ValueError: See :meth:`check_file`.
        """
        path = Path(path)
        return self._check(path, Path(os.path.realpath(path.parent), path.name))

    def write_text(self, name: str | Path, text: str) -> None:
        """Write a UTF-8 text file atomically; ``name`` is below the folder."""
        write_text(self.check_file(self.root / name), text)

    def link(self, path: Path, target: Path) -> None:
        """Let ``path`` lead to ``target``; a link that is there is replaced, atomically.

        Raises:
            FileExistsError: If something else than a link is there.
        """
        path, target = self.check_entry(path), target.resolve()
        if path.is_symlink() and os.readlink(path) == str(target):
            return
        if path.exists() and not path.is_symlink():
            raise FileExistsError(
                f'{path}: expected a link or nothing, got a file or folder; fix: remove it, or '
                'name another --out'
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}.{os.getpid()}.part')
        part.unlink(missing_ok=True)
        part.symlink_to(target, target_is_directory=target.is_dir())
        os.replace(part, path)

    def remove_parts(self) -> None:
        """Remove what killed processes left half written, links and inputs left aside."""
        for place, folders, _ in os.walk(self.root):
            folders[:] = [
                name
                for name in folders
                if not any(is_below(Path(place, name), folder) for folder in self.inputs)
            ]
            remove_parts(place)

    def _check(self, path: Path, real: Path) -> Path:
        inside = real.is_relative_to(os.path.realpath(self.root))
        own = [f for f in self.inputs if real.is_relative_to(os.path.realpath(f))]
        if inside and not own:
            return path
        where = own[0] if own else self.root
        raise ValueError(
            f'{path}: expected a place {"outside of" if own else "below"} {where}, got {real}, '
            'where links lead; fix: remove the link, or name another --out'
            if path.absolute() != real
            else f'{path}: expected a place {"outside of" if own else "below"} {where}, which is '
            'not changed; fix: name another --out'
        )
