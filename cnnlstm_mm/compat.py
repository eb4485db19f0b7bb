"""All that MMAction2 1.2.0 needs on today's Python, PyTorch and numpy.

Each fix looks for the break first and leaves a mended library alone.
:func:`apply` runs those that need no config; the others take one.
"""

import contextlib
import importlib.util
import os
import pickle
import platform
import re
import sys
import types
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import init_dist, is_distributed, master_only
from mmengine.hooks import LoggerHook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import CheckpointLoader

from cnnlstm_mm.config import nested_dicts


def apply() -> None:
    """Apply every fix that needs no config. Safe to call again."""
    # mmcv-lite says at every start that it lacks an op of object detection.
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeform')
    # mmengine's DDP wrapper says it in every process.
    warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated')
    stub_missing_drn()
    alias_moviepy_editor()
    allow_runner_checkpoints()
    explain_refused_checkpoints()
    mend_color_jitter_hue()
    mend_bfloat16_scores()
    write_test_metrics_once()


def stub_missing_drn() -> None:
    """Let ``mmaction.models`` import from the wheel (mmaction2#2714).

    The 1.2.0 wheel and sdist lack ``mmaction/models/localizers/drn``. The
    stand-in class raises ``ImportError`` when a DRN is built.
    """
    spec = importlib.util.find_spec('mmaction')
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            'cnnlstm_mm needs MMAction2, which is not installed here: '
            'pip install "mmaction2>=1.2,<2"',
            name='mmaction',
        )
    root = Path(spec.submodule_search_locations[0])
    name = 'mmaction.models.localizers.drn'
    if (root / 'models/localizers/drn').is_dir() or name in sys.modules:
        return
    from mmaction.registry import MODELS

    @MODELS.register_module()
    class DRN:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                'DRN is missing from the mmaction2 1.2.0 wheel '
                '(mmaction2#2714). Install MMAction2 from its git '
                'repository to use it.'
            )

    package, module = types.ModuleType(name), types.ModuleType(f'{name}.drn')
    package.__path__ = []
    module.DRN = DRN
    package.drn = module
    sys.modules.update({package.__name__: package, module.__name__: module})


def alias_moviepy_editor() -> None:
    """Give moviepy 2 the module ``moviepy.editor`` that MMAction2 imports.

    moviepy 2 moved its names to the top level. They are looked up on first
    use, so that importing cnnlstm_mm does not import moviepy.
    """
    try:
        version = metadata.version('moviepy')
    except metadata.PackageNotFoundError:
        return
    if int(version.split('.')[0]) < 2 or 'moviepy.editor' in sys.modules:
        return
    alias = types.ModuleType('moviepy.editor')

    def from_moviepy(name: str) -> Any:
        return getattr(importlib.import_module('moviepy'), name)

    alias.__getattr__ = from_moviepy
    sys.modules['moviepy.editor'] = alias


def history_statistic(owner: Any, name: str) -> Any:
    """Stand in for ``getattr`` in checkpoints: methods of HistoryBuffer only.

    Args:
        owner (Any): Must be ``HistoryBuffer``.
        name (str): Must be one of its statistics.

    Returns:
        Any: The method, which a log history keeps by name.

    Raises:
        UnpicklingError: For anything else.
    """
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def runner_checkpoint_globals() -> list[Any]:
    """What a Runner checkpoint holds beside tensors: log histories in numpy.

    Returns:
        list: The classes and functions that ``torch.load(weights_only=True)``
        may call, or pairs of one and the name by which files call it. None of
        them runs code from the file.
    """
    multiarray = (getattr(np, '_core', None) or np.core).multiarray
    dtypes = {
        type(np.dtype(name)) for name in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'bool')
    }
    functions = [
        (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for core in ('core', '_core')
    ]  # numpy 1 and numpy 2
    return [
        HistoryBuffer,
        (history_statistic, 'builtins.getattr'),
        np.ndarray,
        np.dtype,
        *sorted(dtypes, key=str),
        *functions,
    ]


def allow_runner_checkpoints() -> None:
    """Let mmengine's own checkpoints pass ``weights_only=True``.

    torch 2.6 made that the default, which stops resume, load_from and test
    on any checkpoint with a HistoryBuffer in it (mmengine#1655).
    """
    torch.serialization.add_safe_globals(runner_checkpoint_globals())


def explain_refused_checkpoints() -> None:
    """Replace torch's advice to unpickle without checks by a cure.

    A checkpoint that asks for anything outside the allow-list raises
    ``RuntimeError`` with the file and the refused name; nothing of it runs.
    A damaged one raises ``RuntimeError`` with the file, weights with NaN
    ``ValueError``.
    """
    original = CheckpointLoader.load_checkpoint.__func__
    if getattr(original, 'explains_refusal', False):
        return

    def load_checkpoint(cls, filename, map_location=None, logger='current'):
        from cnnlstm_mm.weights import refuse_nan

        try:
            loaded = original(cls, filename, map_location, logger)
        except OSError as error:
            # torch raises it for a file that was cut short, too.
            if isinstance(error, PermissionError) or not os.path.isfile(filename):
                raise
            raise RuntimeError(refusal(filename, error)) from None
        except Exception as error:
            raise RuntimeError(refusal(filename, error)) from None
        refuse_nan(loaded, filename)
        return loaded

    load_checkpoint.explains_refusal = True
    CheckpointLoader.load_checkpoint = classmethod(load_checkpoint)


def refusal(filename: str, error: Exception) -> str:
    """Say why ``filename`` was not loaded and what to do.

    Args:
        filename (str): The checkpoint.
        error (Exception): What ``torch.load`` raised.

    Returns:
        str: A message with the file, the reason and the cure.
    """
    found = re.search(r'GLOBAL (\S+)', str(error))
    if found is None:
        return (
            f'{filename} is damaged or no PyTorch checkpoint '
            f'({type(error).__name__}: {error}). Train or download it '
            'again, or name another file.'
        )
    return (
        f'{filename} was refused, and nothing in it was run: it asks for the '
        f'code {found[1]}. Only tensors, numbers and the log histories of a '
        'Runner are loaded from a checkpoint. Get it from a source that you '
        'trust as a plain state dict: '
        'torch.save(dict(state_dict=model.state_dict()), PATH).'
    )


def mend_color_jitter_hue() -> None:
    """Let ColorJitter shift the hue under numpy 2, also downwards.

    Upstream adds a Python int to a uint8 array: numpy 2 raises OverflowError
    for a negative one, and any numpy wraps a sum over 255 to a wrong hue.
    """
    import cv2

    from mmaction.datasets.transforms import ColorJitter

    black = np.zeros((1, 1, 3), np.uint8)
    try:
        ColorJitter.adjust_hue(black, -0.1)
    except OverflowError:
        pass
    else:
        return

    def adjust_hue(img: np.ndarray, factor: float) -> np.ndarray:
        img = np.clip(img, 0, 255).astype(np.uint8)
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV)
        shifted = hsv[..., 0].astype(np.int16) + int(factor * 255)
        hsv[..., 0] = (shifted % 180).astype(np.uint8)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).astype(np.float32)

    ColorJitter.adjust_hue = staticmethod(adjust_hue)


def mend_bfloat16_scores() -> None:
    """Let heads compute their loss from bfloat16 scores.

    Upstream turns the scores into numpy, which has no bfloat16: training under
    bfloat16 autocast ends in TypeError. The loss is taken in float32.
    """
    from mmaction.models.heads import BaseHead

    original = BaseHead.loss_by_feat
    if getattr(original, 'takes_bfloat16', False):
        return

    def loss_by_feat(self, cls_scores, data_samples):
        if cls_scores.dtype == torch.bfloat16:
            cls_scores = cls_scores.float()
        return original(self, cls_scores, data_samples)

    loss_by_feat.takes_bfloat16 = True
    loss_by_feat.__wrapped__ = original
    BaseHead.loss_by_feat = loss_by_feat


def write_test_metrics_once() -> None:
    """Let only the main process write the metrics of a test to their file.

    Upstream's ``LoggerHook.after_test_epoch`` dumps them from every process
    of a distributed test into one file, which ends up damaged at times: the
    timings in it differ in length from process to process.
    """
    original = LoggerHook.after_test_epoch
    if getattr(original, 'writes_once', False):
        return
    LoggerHook.after_test_epoch = master_only(original)
    LoggerHook.after_test_epoch.writes_once = True


def use_gloo_without_cuda(cfg: Config) -> None:
    """Start a distributed CPU job, which mmengine's ``init_dist`` cannot.

    It calls ``torch.cuda.set_device`` first, and the Runner's default wrapper
    passes ``device_ids``. Nothing happens with CUDA or without a launcher.

    Args:
        cfg (Config): The config of the run; ``model_wrapper_cfg`` is set.
    """
    if cfg.get('launcher', 'none') == 'none' or torch.cuda.is_available():
        return
    wrapper = cfg.get('model_wrapper_cfg') or ConfigDict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.device_ids = None
    cfg.model_wrapper_cfg = wrapper
    if cfg.get('strategy', {}).get('type') == 'FSDPStrategy':
        # Its default is the number of a GPU.
        cfg.strategy.setdefault('model_wrapper', ConfigDict(type='MMFullyShardedDataParallel'))
        cfg.strategy.model_wrapper.device_id = torch.device('cpu')
    if not is_distributed():
        with _without_cuda_set_device():
            init_dist(cfg.launcher, backend='gloo')


@contextlib.contextmanager
def _without_cuda_set_device() -> Iterator[None]:
    original = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = original


def read_without_decord(cfg: Config) -> bool:
    """Turn decord transforms into OpenCV's where decord does not import.

    decord 0.6.0 has wheels for x86-64 Linux, Windows and older macOS only.

    Args:
        cfg (Config): The config of the run; its pipelines are changed.

    Returns:
        bool: Whether OpenCV reads the videos.
    """
    if importlib.util.find_spec('decord') is not None:
        return False
    for node in nested_dicts(cfg._cfg_dict):
        kind = node.get('type')
        if kind in ('DecordInit', 'PathDecordInit'):
            node['type'] = 'OpenCVInit'
            node.pop('num_threads', None)
            node.pop('min_share', None)
        elif kind == 'DecordDecode':
            node['type'] = 'OpenCVDecode'
            node.pop('mode', None)
    print_log(
        f'decord is not installed (no wheel for {platform.machine()}?): '
        'videos are read with OpenCV, slower.',
        'current',
    )
    return True
