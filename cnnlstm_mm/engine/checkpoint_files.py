"""Checkpoint files that are written atomically and carry their own SHA-256.

A checkpoint is torch's zip file with a comment, ``sha256:HEX``, at its very end: the hash of all
bytes before it. torch and MMAction2 load such a file as any other, and file and hash cannot part.
torch alone does not notice a flipped bit in a tensor.
"""

import errno
import hashlib
import io
import logging
import os
import os.path as osp
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from cnnlstm_mm.run_identity import KEY
from cnnlstm_mm.storage import atomic_path
from cnnlstm_mm.storage.atomic import FULL

LAST = 'last_checkpoint'
_PREFIX = b'sha256:'
_COMMENT = len(_PREFIX) + 64
_END = b'PK\x05\x06'  # of a zip file: 22 bytes, of which 2 count the comment


def append_hash(data: bytes) -> bytes:
    """Append the hash to the bytes of ``torch.save``; other bytes stay."""
    if data[-22:-18] != _END or data[-2:] != b'\0\0':
        return data
    body = data[:-2] + _COMMENT.to_bytes(2, 'little')
    return body + _PREFIX + hashlib.sha256(body).hexdigest().encode()


def find_damage(path: str) -> str | None:
    """Describe the damage of a local checkpoint, without loading it; None if it is sound.

    A file without a hash, as other tools write it, is checked by the checksums of its zip entries.
    """
    try:
        if not os.path.getsize(path):
            return 'it is empty'
        with open(path, 'rb') as file:
            if not has_hash(path):
                if not zipfile.is_zipfile(file):
                    return 'it is cut short, or not a checkpoint'
                with zipfile.ZipFile(file) as archive:
                    bad = archive.testzip()
                    file.seek(-len(archive.comment) - 2, os.SEEK_END)
                if file.read(2) != b'\0\0':  # torch writes no comments
                    return 'the hash in it is damaged or cut short'
                return bad and f'the checksum of {bad} in it is wrong'
            digest, left = hashlib.sha256(), osp.getsize(path) - _COMMENT
            while left:
                part = file.read(min(left, 1 << 24))
                digest.update(part)
                left -= len(part)
            expected = file.read()[len(_PREFIX) :].decode()
            if digest.hexdigest() != expected:
                return 'its bytes do not match the hash in it'
    except Exception as error:  # of any kind, as zipfile expects sound names and sizes
        return f'{type(error).__name__}: {error}'
    return None


def has_hash(path: str) -> bool:
    """Whether a file ends with a hash."""
    with open(path, 'rb') as file:
        file.seek(max(osp.getsize(path) - _COMMENT, 0))
        return bool(re.fullmatch(rb'sha256:[0-9a-f]{64}', file.read()))


def write_verified(path: str, data: bytes) -> None:
    """Write a local file atomically, and read it back before it gets its name.

    Raises:
        OSError: If it cannot be written, or reads back otherwise. An older file of this name is
            intact.
    """
    digest = hashlib.sha256(data).digest()

    def read_back(temporary: Path) -> None:
        if hashlib.sha256(temporary.read_bytes()).digest() != digest:
            raise OSError(errno.EIO, 'other bytes were read back than written', str(temporary))

    with atomic_path(path, read_back) as temporary:
        temporary.write_bytes(data)


def save_checkpoint(checkpoint: dict[str, Any], path: str | os.PathLike) -> None:
    """Write a checkpoint with its hash, see :func:`write_verified`."""
    import torch

    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    VerifiedLocalBackend().put(buffer.getvalue(), str(path))


@register_backend('verified')
class VerifiedLocalBackend(LocalBackend):
    """mmengine's local files, with a :meth:`put` that writes checkpoints."""

    def put(self, obj: bytes, filepath: str) -> None:
        """Write a checkpoint with its hash, see :func:`write_verified`.

        Raises:
            OSError: If it cannot be written; with the space that is needed and free, and the fix.
        """
        data = append_hash(obj)
        try:
            write_verified(str(filepath), data)
        except OSError as error:
            folder = osp.dirname(osp.abspath(filepath))
            reason = os.strerror(error.errno) if error.errno in FULL else error.strerror or error
            free = shutil.disk_usage(folder).free if osp.isdir(folder) else 0
            raise OSError(
                error.errno,
                f'The checkpoint {filepath} could not be written: {reason}. It '
                f'needs {len(data) / 2**20:.1f} MiB, and {folder} has {free / 2**20:.1f} MiB free. '
                'The checkpoints before it are intact; fix: free some space (or raise the quota, '
                'the limit or the rights), or keep fewer, '
                'default_hooks.checkpoint.max_keep_ckpts=1; then start the same command with '
                '--resume',
            ) from error


def newest_valid(folder: str, template: str, work_dir: str | None = None) -> str | None:
    """Find the newest sound checkpoint of a run.

    It is the one that ``last_checkpoint`` names, or a newer one, if the run was killed before it
    could be named there. Where it is damaged, the one before is taken, with a warning.

    Args:
        folder: Of the checkpoints.
        template: Their names, such as 'epoch_{}.pth'.
        work_dir: Of ``last_checkpoint``, if not ``folder``.

    Returns:
        Its path, or None if there are none at all.

    Raises:
        RuntimeError: If there are some, and all are damaged.
    """
    damaged: list[tuple[str, str]] = []
    last = _read_last(work_dir or folder, folder)
    for path in _candidates(folder, template, last):
        damage = find_damage(path)
        if damage is not None:
            damaged.append((path, damage))
            continue
        for bad, reason in damaged:
            print_log(
                f'The checkpoint {bad} is damaged ({reason}) and is left out: {path} is taken '
                'instead.',
                'current',
                logging.WARNING,
            )
        if not has_hash(path):
            print_log(
                f'The checkpoint {path} has no hash: it was written by an earlier version or '
                'another tool. Only the checksums in it could be tested.',
                'current',
            )
        return path
    if damaged:
        lines = ''.join(f'\n  {path} ({reason})' for path, reason in damaged)
        raise RuntimeError(
            f'Every checkpoint in {folder} is damaged:{lines}\nfix: remove them to start over, or '
            'name another with --resume PATH.'
        )
    return None


def _candidates(folder: str, template: str, last: str | None) -> list[str]:
    """Checkpoints of a run, the newest first."""
    if last is not None:
        template = re.sub(r'\d+(?=\D*$)', '{}', osp.basename(last))
    before, after = template.split('{}', 1) if '{}' in template else ('', '')
    pattern = re.compile(re.escape(before) + r'(\d+)' + re.escape(after))
    steps = {}
    for name in os.listdir(folder) if osp.isdir(folder) else ():
        match = pattern.fullmatch(name)
        if match:
            steps[osp.join(folder, name)] = int(match[1])
    if last is None:
        return sorted(steps, key=steps.__getitem__, reverse=True)
    # An earlier run in this folder may have left files with higher numbers.
    step = steps.get(last, -1)
    fitting = [path for path in steps if steps[path] <= step or _came_after(path, last)]
    return sorted({*fitting, last}, reverse=True, key=lambda path: steps.get(path, -1))


def _came_after(path: str, last: str) -> bool:
    """Whether a checkpoint belongs to the run of ``last`` and was not written before it was begun.

    Files of earlier versions, and damaged ones, are compared by their times.
    """
    theirs, own = _session(path), _session(last)
    if theirs is None or own is None:
        return osp.getmtime(path) >= osp.getmtime(last)
    return theirs[0] == own[0] and theirs[1] >= own[1]


def _session(path: str) -> tuple[str, int] | None:
    """Run of a checkpoint, and how often that had been resumed when it was written."""
    import torch

    try:
        meta = torch.load(path, map_location='cpu', mmap=True, weights_only=True)['meta']
        return meta[KEY]['run'], meta[KEY]['session']
    except Exception:  # of any kind, in a damaged file
        return None


def _read_last(work_dir: str, folder: str) -> str | None:
    try:
        with open(osp.join(work_dir, LAST)) as file:
            named = file.read().strip()
    except OSError:
        return None
    # The folder may have been moved since.
    for path in (osp.join(folder, osp.basename(named)), named):
        if osp.isfile(path):
            return path
    return None
