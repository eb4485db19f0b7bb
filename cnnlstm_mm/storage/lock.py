"""Locks of folders and files, which name the process that holds them."""

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from .atomic import remove_parts

RECORD = '.in_use.json'
PROC = Path('/proc')


class InUseError(RuntimeError):
    """Another process writes to the same place."""


@contextlib.contextmanager
def locked(path: str | Path, tool: str, active: bool = True, file: bool = False) -> Iterator[None]:
    """Hold a folder, or a single file, for the length of a block.

    The lock is a small file that names host, process and time. It is not the operating system's
    own (``flock``), which network file systems may lack, which says nothing about its holder, and
    which the decoding workers of a killed process would keep.

    Args:
        path: A folder, or a file; the folder is made, and removed if nothing comes into it.
        tool: Name of the holder in messages.
        active: False for the processes of a distributed run that share the lock of the first.
        file: Whether ``path`` is a single file; other files of its folder stay free. What a
            killed holder left half written of it is removed.

    Raises:
        InUseError: If a process that runs, or one of another host, holds it; with the cure. The
            lock of a process of this host that has ended is taken over, with a line that says so.
    """
    if not active:
        yield
        return
    path = Path(os.path.realpath(path))
    record = path.with_name(f'.{path.name}{RECORD}') if file else path / RECORD
    new = not record.parent.exists()
    record.parent.mkdir(parents=True, exist_ok=True)
    mine = dict(_me(), tool=tool, since=time.strftime('%Y-%m-%d %H:%M:%S'))
    # Only processes of this host take over, so the folder of its temporary files serves all. One
    # file for all locks: it is held for as long as it takes to read and write a record.
    with FileLock(Path(tempfile.gettempdir(), f'cnnlstm_mm_{_user()}.lock')):
        _acquire(record, path, mine)
    try:
        if file:
            remove_parts(path.parent, path.name)
        yield
    finally:
        if mine['pid'] == os.getpid() and _read(record) == mine:
            record.unlink(missing_ok=True)
            if new:  # nothing was made in it, after a wrong argument
                with contextlib.suppress(OSError):
                    record.parent.rmdir()


def _acquire(record: Path, path: Path, mine: dict[str, Any]) -> None:
    # Linked to its name when complete: nobody reads half of it, and the first one wins, on
    # whatever host.
    draft = record.with_name(f'{record.name}.{mine["host"]}')
    try:
        draft.write_text(json.dumps(mine))
        while True:
            try:
                os.link(draft, record)
                return
            except FileExistsError:
                held = _read(record)
            if held is not None:
                _raise_if_held(held, record, path)
                print(f'Taking over {path}: {_words(held)}, which held it, has ended.', flush=True)
                record.unlink(missing_ok=True)
    finally:
        draft.unlink(missing_ok=True)


def _raise_if_held(held: dict[str, Any], record: Path, path: Path) -> None:
    message = f'{path}: expected it free, got it in use by {_words(held)}'
    if held.get('host') != socket.gethostname():
        job, restarts = _job()
        if job and held.get('job') == job and held.get('restarts', restarts) < restarts:
            return  # this job was started again, on another node
        raise InUseError(
            f'{message}, another host than this one; fix: wait for its end or name another '
            f'folder; if it has ended there, remove {record}'
        )
    if _start(held.get('pid', 0)) in (None, held.get('start')) and _runs(held.get('pid', 0)):
        raise InUseError(f'{message}; fix: wait for its end, stop it, or name another folder')


def _words(held: dict[str, Any]) -> str:
    return (
        f'{held.get("tool")} (process {held.get("pid")} on {held.get("host")}, since '
        f'{held.get("since")})'
    )


def _read(record: Path) -> dict[str, Any] | None:
    try:
        held = json.loads(record.read_text())
        return held if isinstance(held, dict) else {}
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _me() -> dict[str, Any]:
    pid = os.getpid()
    job, restarts = _job()
    return dict(host=socket.gethostname(), pid=pid, start=_start(pid), job=job, restarts=restarts)


def _job() -> tuple[str | None, list[int]]:
    """Slurm's job, or torchrun's run on several machines, and how often both were started again."""
    names = ('SLURM_JOB_ID', 'TORCHELASTIC_RUN_ID')
    job = next((f'{n}={os.environ[n]}' for n in names if os.environ.get(n, 'none') != 'none'), None)
    counts = ('SLURM_RESTART_COUNT', 'TORCHELASTIC_RESTART_COUNT')
    return job, [int(os.environ.get(name, 0)) for name in counts]


def _user() -> int:
    return os.getuid() if hasattr(os, 'getuid') else 0


def _start(pid: int) -> str | None:
    """When a process started, which tells it from a later one of its number; None if unknown."""
    try:
        boot = (PROC / 'sys/kernel/random/boot_id').read_text().strip()
        fields = (PROC / str(pid) / 'stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return f'{boot} {fields[19]}'


def _runs(pid: int) -> bool:
    if (PROC / 'self').exists():
        try:
            state = (PROC / str(pid) / 'stat').read_text().rpartition(')')[2].split()[0]
        except OSError:
            return False
        return state not in 'ZX'
    if os.name != 'posix':
        return True  # where signal 0 would end it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
