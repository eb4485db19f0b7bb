"""The state's share of the pre-activations in the fused loop, one map for each kind of gates.

Each has the share of one step, its vector-Jacobian product, and the gradients of its weights from
all steps at once. Where these need more than h and the gradient of the share, the product also
returns an inner gradient, which ``inner`` of all steps is filled with.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import convolution
from .convolution import step_conv, weight_gradient
from .gates import PooledGates
from .geometry import Pair, geometry

Product = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class FullMap:
    """One convolution.

    Args:
        weight: [4 hidden, hidden, kh, kw].
        size: height and width of the frames.
        batch: the most samples of a step.
        calls: steps.
    """

    def __init__(self, weight: Tensor, size: Pair, batch: int, calls: int) -> None:
        self.weight, self.size, self.batch, self.calls = weight, size, batch, calls
        self.same = geometry(size, weight.shape[-2:])

    def _step(self, weight: Tensor, **options) -> Callable[[Tensor], Tensor]:
        return step_conv(weight, self.batch, self.size, calls=self.calls, **options)

    def share(self, bias: Tensor | None = None, finite: bool = True) -> Callable[[Tensor], Tensor]:
        """From h [n, hidden, H, W] to [n, 4 hidden, H, W]."""
        return self._step(self.weight, bias=bias, finite=finite)

    def product(self) -> Product:
        """From the gradient of the share to that of h, and an inner one."""
        step = self._step(self.weight, transposed=True)
        return lambda d: (step(d), None)

    def inner(self, frames: int) -> Tensor | None:
        """Room for the inner gradients [N, T, ...], zeros."""
        return None

    def weight_gradients(
        self, h: Tensor, d: Tensor, inner: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Of both weights, from h, the gradients of the share and the inner ones, [M, ...] each."""
        return weight_gradient(h, d, self.weight, self.same), None


class DepthwiseMap(FullMap):
    """``DepthwiseGates.of_state``; the inner gradient is that between its two convolutions.

    Args:
        weight: [4 hidden, hidden, 1, 1].
        depth: [hidden, 1, kh, kw].
        *sizes: as those of ``FullMap``.
    """

    def __init__(self, weight: Tensor, depth: Tensor, *sizes) -> None:
        super().__init__(weight, *sizes)
        self.depth, self.groups = depth, depth.shape[0]
        self.depth_same = geometry(self.size, depth.shape[-2:])

    def share(self, bias: Tensor | None = None, finite: bool = True) -> Callable[[Tensor], Tensor]:
        """As FullMap.share."""
        depth = self._step(self.depth, groups=self.groups, finite=finite)
        point = self._step(self.weight, bias=bias, finite=finite)
        return lambda h: point(depth(h))

    def product(self) -> Product:
        """As FullMap.product."""
        depth = self._step(self.depth, groups=self.groups, transposed=True)
        point = self._step(self.weight, transposed=True)

        def product(d: Tensor) -> tuple[Tensor, Tensor]:
            inner = point(d)
            return depth(inner), inner

        return product

    def inner(self, frames: int) -> Tensor | None:
        """As FullMap.inner."""
        return self.weight.new_zeros(self.batch, frames, self.groups, *self.size)

    def weight_gradients(self, h, d, inner):
        """As FullMap.weight_gradients."""
        between = convolution.forward(h, self.depth, None, self.depth_same)
        return (
            weight_gradient(between, d, self.weight, self.same),
            weight_gradient(h, inner, self.depth, self.depth_same),
        )


class PooledMap(FullMap):
    """``PooledGates.of_state``; the inner gradient is that of its gates, which have no space.

    Args:
        weight: [hidden, hidden, kh, kw].
        gate: [3 hidden, hidden].
        *sizes: as those of ``FullMap``.
    """

    def __init__(self, weight: Tensor, gate: Tensor, *sizes) -> None:
        super().__init__(weight, *sizes)
        self.gate = gate

    def share(self, bias: Tensor | None = None, finite: bool = True) -> Callable[[Tensor], Tensor]:
        """As FullMap.share."""
        conv = super().share(bias, finite)
        return lambda h: PooledGates.assemble(F.linear(h.mean((2, 3)), self.gate), conv(h))

    def product(self) -> Product:
        """As FullMap.product."""
        step, pixels = self._step(self.weight, transposed=True), self.size[0] * self.size[1]

        def product(d: Tensor) -> tuple[Tensor, Tensor]:
            i, f, g, o = d.chunk(4, 1)
            inner = torch.cat([gate.sum((2, 3)) for gate in (i, f, o)], 1)
            mean = torch.mm(inner, self.gate) / pixels
            return step(g.contiguous()) + mean[..., None, None], inner

        return product

    def inner(self, frames: int) -> Tensor | None:
        """As FullMap.inner."""
        return self.weight.new_zeros(self.batch, frames, self.gate.shape[0])

    def weight_gradients(self, h, d, inner):
        """As FullMap.weight_gradients."""
        d = d.chunk(4, 1)[2].contiguous()
        return super().weight_gradients(h, d, None)[0], torch.mm(inner.t(), h.mean((2, 3)))


def state_map(weight: Tensor, light: Tensor | None, *sizes) -> FullMap:
    """The map of ``weight_hh`` and, for light gates, ``depth_hh`` or ``gate_hh``."""
    if light is None:
        return FullMap(weight, *sizes)
    return (DepthwiseMap if light.dim() == 4 else PooledMap)(weight, light, *sizes)
