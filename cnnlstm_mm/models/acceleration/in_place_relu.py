"""ReLU6 in place, without the copy that autograd makes."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlstm_mm.layers.fused import must_be_plain


class InPlaceHardtanh(nn.Hardtanh):
    """``nn.Hardtanh(inplace=True)`` with its gradient taken from the output.

    PyTorch's keeps the input for the gradient and therefore copies it at every call. The gradient
    passes where the output lies inside the limits, which is the same set, so the output is
    enough: one tensor less is held and written. PyTorch's own runs under ``torch.compile``,
    ``torch.func`` and tracing.
    """

    def __init__(self, min_val: float, max_val: float) -> None:
        super().__init__(min_val, max_val, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Clamp ``x``, of any shape, in place."""
        if (
            torch.is_grad_enabled()
            and x.requires_grad
            and not (torch.compiler.is_compiling() or must_be_plain())
        ):
            return _Clamp.apply(x, self.min_val, self.max_val)
        return F.hardtanh(x, self.min_val, self.max_val, self.inplace)


class _Clamp(torch.autograd.Function):
    """Clamp in place and save the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.limits = low, high
        ctx.mark_dirty(x)
        x.clamp_(low, high)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (output,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(grad, output, *ctx.limits), None, None


def keep_outputs(module: nn.Module) -> None:
    """Replace each in-place Hardtanh (ReLU6) of ``module``, at any depth.

    Args:
        module: Changed in place; its ``state_dict`` stays the same.
    """
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Hardtanh) and child.inplace:
                setattr(parent, name, InPlaceHardtanh(child.min_val, child.max_val))
