"""Fixes that MMAction2 1.2.0, mmengine and mmcv need on today's Python, PyTorch and numpy.

Each fix looks for the break first, leaves a sound library alone, and reaches only the modules
that need it: for other users of mmengine, numpy or moviepy in the process nothing else changes.
:func:`apply` runs those that need no config; the others take one.
"""

import contextlib
import importlib.util
import pkgutil
import sys
import types
import warnings
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import init_dist, is_distributed, master_only

from cnnlstm_mm.config_hub import provide_configs
from cnnlstm_mm.safe_loading import allow_runner_checkpoints, explain_refused_checkpoints


def apply() -> None:
    """Apply every fix that needs no config. Safe to call again."""
    silence_upstream_warnings()
    provide_missing_modules()
    postpone_scipy_stats()
    allow_runner_checkpoints()
    explain_refused_checkpoints()
    restore_removed_names()
    fix_color_jitter_hue()
    fix_bfloat16_scores()
    write_test_metrics_once()
    provide_configs()


def silence_upstream_warnings() -> None:
    """Ignore two warnings that every start would show; the same from other modules pass."""
    # mmcv-lite lacks an op of object detection.
    warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeform', module=r'mmcv\.')
    # mmengine's DDP wrapper, in every process.
    warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated', module=r'mmengine\.')


class StandInFinder(MetaPathFinder, Loader):
    """Last finder of ``sys.meta_path``, for modules that MMAction2 imports and nobody provides.

    - ``mmaction.models.localizers.drn`` is missing from the 1.2.0 wheel and sdist (mmaction2#2714).
      Building the stand-in for DRN raises ``ImportError``.
    - ``moviepy.editor`` is gone in moviepy 2, which moved its names to the top level.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find one of the stand-ins."""
        if name not in _STAND_INS:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=name == _DRN)

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill a stand-in, when it is imported."""
        _STAND_INS[module.__name__](module)


def _fill_drn(module: types.ModuleType) -> None:
    from mmaction.registry import MODELS

    @MODELS.register_module()
    class DRN:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                'DRN is missing from the mmaction2 1.2.0 wheel (mmaction2#2714); fix: install '
                'MMAction2 from its git repository.'
            )

    module.DRN = DRN


def _fill_moviepy_editor(module: types.ModuleType) -> None:
    import moviepy

    class ImageSequenceClip(moviepy.ImageSequenceClip):
        """moviepy's; ``write_gif`` takes the ``verbose`` of moviepy 1, as TensorBoard gives it."""

        def write_gif(self, filename: str, *args: Any, verbose: Any = None, **kwargs: Any) -> None:
            super().write_gif(filename, *args, **kwargs)

    names = {name: getattr(moviepy, name) for name in dir(moviepy) if not name.startswith('_')}
    module.__dict__.update(names, ImageSequenceClip=ImageSequenceClip)


_DRN = 'mmaction.models.localizers.drn'
_STAND_INS = {
    _DRN: lambda package: None,
    f'{_DRN}.drn': _fill_drn,
    'moviepy.editor': _fill_moviepy_editor,
}


def provide_missing_modules() -> None:
    """Install :class:`StandInFinder`."""
    if not any(isinstance(finder, StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(StandInFinder())


class _ScipyStats(types.ModuleType):
    """A stand-in for scipy.stats, which the first use of anything in it imports."""

    def mode(self, *args: Any, **kwargs: Any) -> Any:
        """Call scipy's."""
        return self.__getattr__('mode')(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # Python's own look at any module
            raise AttributeError(name)
        if sys.modules.get('scipy.stats') is self:
            del sys.modules['scipy.stats']
        return getattr(importlib.import_module('scipy.stats'), name)


def postpone_scipy_stats() -> None:
    """Import MMAction2's transforms without scipy.stats, a fifth of the time of a start.

    Those of poses alone need it, for ``mode``.
    """
    module = 'mmaction.datasets.transforms.pose_transforms'
    if 'scipy.stats' in sys.modules or module in sys.modules:
        return
    spec = importlib.util.find_spec('scipy.stats')
    stand_in = sys.modules['scipy.stats'] = _ScipyStats('scipy.stats')
    stand_in.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    try:
        importlib.import_module(module)
    finally:
        if sys.modules.get('scipy.stats') is stand_in:
            del sys.modules['scipy.stats']


class _Extended(types.ModuleType):
    """A view of a module with one more name."""

    def __init__(self, module: types.ModuleType, name: str, value: Any) -> None:
        super().__init__(module.__name__)
        self.__dict__.update({'_module': module, name: value})

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_module'], name)


def restore_removed_names() -> None:
    """Give upstream modules the names that numpy 2 and Python 3.14 have dropped.

    Only these modules see them: PoseCompact, ``frame_extract``, two metrics, and what asks for
    mmcv's compiled ops, as every optimizer with a ``paramwise_cfg`` does.
    """
    trapezoid = getattr(np, 'trapezoid', None)  # trapz before numpy 2
    for module, library, name, value in (
        ('mmaction.datasets.transforms.pose_transforms', np, 'Inf', np.inf),
        ('mmaction.utils.misc', np, 'Inf', np.inf),
        ('mmaction.evaluation.functional.accuracy', np, 'trapz', trapezoid),
        ('mmaction.evaluation.metrics.multimodal_metric', np, 'in1d', np.isin),
        ('mmengine.utils.dl_utils.misc', pkgutil, 'find_loader', importlib.util.find_spec),
        ('mmcv.utils.ext_loader', pkgutil, 'find_loader', importlib.util.find_spec),
    ):
        if not hasattr(library, name):
            held = 'np' if library is np else 'pkgutil'
            setattr(importlib.import_module(module), held, _Extended(library, name, value))


def fix_color_jitter_hue() -> None:
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


def fix_bfloat16_scores() -> None:
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

    Upstream's ``LoggerHook.after_test_epoch`` dumps them from every process of a distributed test
    into one file, which ends up damaged at times: the timings in it differ in length from process
    to process.
    """
    from mmengine.hooks import logger_hook

    if not hasattr(logger_hook.dump, '__wrapped__'):
        logger_hook.dump = master_only(logger_hook.dump)


def apply_gloo_without_cuda(cfg: Config) -> None:
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
