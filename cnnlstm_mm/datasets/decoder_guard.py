"""Decoders that hang or end their process, and the video that did it."""

import contextlib
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import get_worker_info

FOLDER_VARIABLE = 'CNNLSTM_MM_READING'
_notes: dict = {}  # of this process: its id, and its open file


class DecodeTimeout(RuntimeError):
    """A decoder that did not return in time."""


def within(seconds: float | None, function: Callable, *args: Any) -> Any:
    """Call a function that may hang in foreign code.

    It runs in a thread of its own; one that does not return is left behind
    and holds its memory until the process ends. Nothing else can interrupt
    foreign code without ending the process.

    Args:
        seconds (float, optional): How long it may take; None calls it as it
            is.
        function (Callable): The function.
        *args: Its arguments.

    Returns:
        Any: What it returns.

    Raises:
        DecodeTimeout: If it takes longer. Its own errors are raised as they
            are.
    """
    if seconds is None:
        return function(*args)
    done: list[Any] = []

    def run() -> None:
        try:
            done.append((function(*args), None))
        except BaseException as error:  # raised where the result is wanted
            done.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done:
        raise DecodeTimeout(f'the decoder did not return within decode_timeout={seconds:g} seconds')
    result, error = done[0]
    if error is not None:
        raise error
    return result


def note_reading(name: str) -> None:
    """Write down which file a data loader's worker decodes.

    It costs a write to a small file. Outside of :func:`name_dead_decoders`,
    and elsewhere than in a worker, it does nothing: nobody would read it.

    Args:
        name (str): The file; '' when it was decoded.
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
        except RuntimeError as error:
            names = _read_by_the_dead(str(error), Path(folder))
            if not names:
                raise
            listed = ''.join(f'\n  {name}' for name in names)
            raise RuntimeError(
                f'the decoder ended the process of a data loader on{listed}\n'
                '(or the machine had no memory left: see dmesg). Take it off '
                'the list; tools/data/prepare_*.py decode every video in '
                'processes of their own and leave such ones out. Then go on '
                'with --resume.'
            ) from error
        finally:
            del os.environ[FOLDER_VARIABLE]


def _read_by_the_dead(message: str, folder: Path) -> list[str]:
    found = re.search(r'DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)', message)
    names = []
    for process in re.findall(r'\d+', found[1]) if found else []:
        with contextlib.suppress(OSError):
            names.append(os.fsdecode((folder / process).read_bytes()))
    return [name for name in names if name]
