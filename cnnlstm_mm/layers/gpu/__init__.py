"""The time loop of ConvLSTM on a GPU: channels last, its kernels chosen by measurement.

loop.py            the loop, forward and backward
steps.py           the tensors of a loop, and the interface of its kernels
layout.py          channels-last tensors and weights
plain_kernels.py   the kernels in PyTorch's operations
triton_kernels.py  the kernels in Triton: 'update', 'gemm' and 'persistent'
triton_forward.py  ... a step, or all of them
triton_backward.py ... the gradient of a step, or of all of them
triton_barrier.py  ... a barrier between the steps of one launch
triton_gemm.py     ... a convolution as implicit GEMM
triton_cell.py     ... the cell's arithmetic
kernel_choice.py   the fastest kernels for a shape
cuda_graphs.py     graphs of whole loops
run.py             all of it, as ``fused.py`` calls it
"""

from .kernel_choice import runs
from .loop import empty_output
from .run import empty_gradients, run_backward, run_forward

__all__ = ['empty_gradients', 'empty_output', 'run_backward', 'run_forward', 'runs']
