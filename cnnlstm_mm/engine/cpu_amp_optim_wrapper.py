"""Mixed-precision training on a CPU."""

import contextlib
from collections.abc import Iterator

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmaction.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """OptimWrapper under bfloat16 autocast on a CPU.

    mmengine's AmpOptimWrapper refuses a machine without an accelerator. bfloat16 has float32's
    range, so no loss is scaled. It takes the arguments of ``OptimWrapper``; ``cnnlstm-mm train
    --amp`` chooses it without CUDA.
    """

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass of ``model`` under autocast."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
