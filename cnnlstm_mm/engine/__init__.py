"""Hooks, training loop and optimizer wrapper for mmengine's Runner."""

from .broken_video_hook import BrokenVideoHook
from .clip_visualization_hook import ClipVisualizationHook
from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper
from .dump_predictions import DumpPredictions
from .exact_train_loop import ExactEpochBasedTrainLoop
from .finite_loss_hook import FiniteLossHook
from .memory_hook import MemoryHook
from .run_identity_hook import RunIdentityHook
from .schedule_hook import ScheduleHook
from .verified_checkpoint_hook import VerifiedCheckpointHook
from .whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'BrokenVideoHook',
    'CPUAmpOptimWrapper',
    'ClipVisualizationHook',
    'DumpPredictions',
    'ExactEpochBasedTrainLoop',
    'FiniteLossHook',
    'MemoryHook',
    'RunIdentityHook',
    'ScheduleHook',
    'VerifiedCheckpointHook',
    'WholeCheckpointHook',
]
