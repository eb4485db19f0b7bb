"""Memory of runs on the CPU."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from cnnlstm_mm.memory import keep_freed_memory, return_freed_memory
from cnnlstm_mm.weights import unwrap_model
from mmaction.registry import HOOKS


@HOOKS.register_module()
class MemoryHook(Hook):
    """Use freed memory again in a run whose model is on the CPU.

    See :func:`cnnlstm_mm.memory.keep_freed_memory`. Before a loader starts
    its workers the freed memory is returned, which costs one step's page
    faults an epoch: workers are forked, and would hold the old contents of
    whatever the training then overwrites.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.kept = False

    def before_run(self, runner: Runner) -> None:
        """Keep freed memory from now on, unless the model is on a GPU."""
        model = unwrap_model(runner.model)
        tensor = next(model.parameters(), None)
        if tensor is not None and tensor.device.type == 'cpu':
            self.kept = keep_freed_memory() or self.kept

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        if self.kept:
            return_freed_memory()
