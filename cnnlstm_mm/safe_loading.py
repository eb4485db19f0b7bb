"""Checkpoints loaded by mmengine with ``weights_only=True``: allow-list and error messages."""

import errno
import os
import pickle
import re
import urllib.error
import zipfile
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader


class RefusedCheckpointError(RuntimeError, pickle.UnpicklingError):
    """A damaged checkpoint, or one that asks for code.

    It is an ``UnpicklingError`` too, for callers that catch what ``torch.load`` raises.
    """


def history_statistic(owner: Any, name: str) -> Any:
    """Stand in for ``getattr`` in checkpoints: statistics of HistoryBuffer, stored by name.

    Raises:
        UnpicklingError: For anything else, unless ``getattr`` itself was allowed by
            ``torch.serialization.add_safe_globals``.
    """
    statistics = ('min', 'max', 'mean', 'current')
    if owner is HistoryBuffer and name in statistics:
        return getattr(owner, name)
    if getattr in torch.serialization.get_safe_globals():
        return getattr(owner, name)
    owner = getattr(owner, '__qualname__', type(owner).__qualname__)
    raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr({owner},{name})')


def runner_checkpoint_globals() -> list[Any]:
    """Classes and functions that a Runner checkpoint calls: log histories in numpy.

    None of them runs code from the file. Functions are paired with the name by which files call
    them; numpy 1 and numpy 2 use two.
    """
    core = np._core if int(np.__version__.split('.')[0]) >= 2 else np.core
    dtypes = {type(np.dtype(name)) for name in 'f2 f4 f8 i1 i2 i4 i8 u1 bool'.split()}
    functions = [
        (getattr(core.multiarray, name), f'numpy.{package}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for package in ('core', '_core')
    ]
    getattr_stand_in = (history_statistic, 'builtins.getattr')
    return [HistoryBuffer, getattr_stand_in, np.ndarray, np.dtype, *dtypes, *functions]


def allow_runner_checkpoints() -> None:
    """Let mmengine's own checkpoints pass ``weights_only=True``.

    torch 2.6 made that the default, which stops resume, load_from and test on any checkpoint with
    a HistoryBuffer in it (mmengine#1655).
    """
    torch.serialization.add_safe_globals(runner_checkpoint_globals())


def explain_refused_checkpoints() -> None:
    """Replace torch's advice to unpickle without checks with a safe fix.

    Only errors that the file causes are replaced, see :func:`refusal`.
    """
    original = CheckpointLoader.load_checkpoint.__func__
    if getattr(original, 'explains_refusal', False):
        return

    def load_checkpoint(cls, filename, map_location=None, logger='current'):
        try:
            return original(cls, filename, map_location, logger)
        except urllib.error.URLError as error:
            raise ConnectionError(unreachable(filename, error)) from None
        except Exception as error:
            message = refusal(filename, error)
            if message is None:
                raise
            raise RefusedCheckpointError(message) from None

    load_checkpoint.explains_refusal = True
    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)


def refusal(filename: str, error: Exception) -> str | None:
    """Explain why a checkpoint was not loaded and what to do.

    Args:
        filename: A path, or an address with a scheme such as ``https://``.
        error: Raised by mmengine's loader.

    Returns:
        The file, the reason and the fix; None for errors that the file does not cause, such as
        too little memory, a missing module, device or file, or a network that is down.
    """
    reason = str(error).rpartition('WeightsUnpickler error: ')[2]
    reason = reason.partition('\n\nCheck the documentation')[0].strip()
    code = re.search(r'GLOBAL (\S+)', reason)
    if isinstance(error, pickle.UnpicklingError) and code is not None:
        return (
            f'{filename} was refused, and nothing in it was run: expected only tensors, numbers '
            f"and a Runner's log histories, got a call of {code[1]}; fix: get it from a source "
            'that you trust as a plain state dict: '
            'torch.save(dict(state_dict=model.state_dict()), PATH).'
        )
    path = os.path.expanduser(str(filename))
    if not os.path.isfile(path) or not _is_damaged(path, error):
        return None
    return (
        f'{filename} is damaged or not a PyTorch checkpoint ({type(error).__name__}: {reason}); '
        'fix: train or download it again, or name another file.'
    )


def unreachable(filename: str, error: urllib.error.URLError) -> str:
    """Explain a download that failed and what to do.

    Args:
        filename: The address as the config has it, such as ``mmcls://mobilenet_v2``.
        error: Raised by the download.

    Returns:
        The address, the reason and the fix.
    """
    folder = os.path.join(torch.hub.get_dir(), 'checkpoints')
    return (
        f'expected to download {filename}, got {error}; fix: start again with a network, put the '
        f'file into {folder} under its own name, or name a file that you have: --weights FILE of '
        "`cnnlstm-mm prepare folder`, the backbone's init_cfg in a config"
    )


def _is_damaged(path: str, error: Exception) -> bool:
    if isinstance(error, (MemoryError, ImportError, torch.OutOfMemoryError)):
        return False
    if isinstance(error, OSError):
        return error.errno in (None, errno.EINVAL)  # a seek; the others come from the system
    if not isinstance(error, RuntimeError):
        return True
    # RuntimeError also stands for a missing device and a full memory.
    if re.search(
        'corrupt|byte size|protocol version|StreamReader|inline_container|record', str(error)
    ):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is not None
    except Exception:  # of any kind, as zipfile expects sound names and sizes
        return zipfile.is_zipfile(path)
