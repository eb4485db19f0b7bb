"""Runner parts that MMAction2 and mmengine lack."""
from .clip_visualization_hook import ClipVisualizationHook
from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper

__all__ = ['CPUAmpOptimWrapper', 'ClipVisualizationHook']
