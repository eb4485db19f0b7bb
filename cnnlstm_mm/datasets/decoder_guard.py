"""Time limit for hanging decoders, and the name of the video that crashed a worker."""

import contextlib
import logging
import multiprocessing
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import get_worker_info

FOLDER_VARIABLE = 'CNNLSTM_MM_READING'
_notes: dict = {}  # of this process: its id, and its open file


class DecodeTimeoutError(RuntimeError):
    """A decoder that did not return in time."""


def run_with_timeout(seconds: float | None, function: Callable, *args: Any) -> Any:
    """Call a function that may hang in foreign code, with its positional arguments.

    It runs in a separate thread. A thread that does not return keeps its memory until the
    process ends; nothing else can interrupt foreign code without ending the process.

    Args:
        seconds: Time limit; None calls the function directly.
        function: The function; its errors are raised unchanged.
        *args: Its arguments.

    Raises:
        DecodeTimeoutError: If it takes longer.
    """
    if seconds is None:
        return function(*args)
    done: list[Any] = []

    def run() -> None:
        try:
            done.append((function(*args), None))
        except BaseException as error:  # raised below, in the caller's thread
            done.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        raise DecodeTimeoutError(
            f'the decoder did not return within decode_timeout={seconds:g} seconds'
        )
    result, error = done[0]
    if error is not None:
        raise error
    return result


def note_reading(name: str) -> None:
    """Write down which file a data loader's worker decodes; '' when it is decoded.

    It costs a write to a small file. Outside of :func:`name_dead_decoders`, and in other
    processes than workers, nothing is written.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None or get_worker_info() is None:
        return
    if _notes.get('process') != os.getpid():
        _notes.update(
            process=os.getpid(),
            file=os.open(Path(folder, str(os.getpid())), os.O_RDWR | os.O_CREAT),
        )
    os.ftruncate(_notes['file'], 0)
    os.lseek(_notes['file'], 0, os.SEEK_SET)
    os.write(_notes['file'], os.fsencode(name))


def warn_once(key: str, text: str) -> None:
    """Log a warning, once for all workers inside of :func:`name_dead_decoders`."""
    if key in _notes:
        return
    _notes[key] = True
    folder = os.environ.get(FOLDER_VARIABLE)
    with contextlib.suppress(FileExistsError):  # another worker was first
        if folder is not None:
            Path(folder, key).touch(exist_ok=False)
        print_log(text, 'current', logging.WARNING)


@contextlib.contextmanager
def name_dead_decoders() -> Iterator[None]:
    """Name the video where a decoder ended a data loader's worker.

    Raises:
        RuntimeError: Instead of PyTorch's, with the video and what to do.
    """
    with tempfile.TemporaryDirectory(prefix='cnnlstm_mm_') as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        # A worker may end while its tensors are fetched, which breaks that connection.
        except (RuntimeError, ConnectionError, EOFError) as error:
            names = _read_by_the_dead(error, Path(folder))
            if not names:
                raise
            listed = ''.join(f'\n  {name}' for name in names)
            raise RuntimeError(
                f'the decoder ended the process of a data loader on{listed}\n'
                '(or the machine had no memory left: see dmesg). Take it off the list; '
                'cnnlstm-mm prepare decodes every video in a separate process and leaves '
                'such ones out. Then start again: cnnlstm-mm train goes on with --resume, '
                'cnnlstm-mm predict with --jsonl.'
            ) from error
        finally:
            del os.environ[FOLDER_VARIABLE]


def _read_by_the_dead(error: Exception, folder: Path) -> list[str]:
    if isinstance(error, RuntimeError):
        found = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)', str(error))
        processes = re.findall(r'\d+', found[1]) if found else []
    else:
        alive = {str(process.pid) for process in multiprocessing.active_children()}
        notes = (path.name for path in folder.iterdir() if path.name.isdigit())
        processes = [name for name in notes if name not in alive]
    names = []
    for process in processes:
        with contextlib.suppress(OSError):
            names.append(os.fsdecode((folder / process).read_bytes()))
    return [name for name in names if name]
