"""The convolutions of the backward loop: over all steps at once, or step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from . import convolution
from .geometry import Geometry
from .state_maps import state_map

Gradients = tuple[Tensor | None, ...]


class AtOnce:
    """Data gradients of h step by step; those of x and of the weights from all steps at once.

    Args:
        x: the input [N, T, C, H, W]; None without ``weight_ih``.
        weight_ih: its weight; None where x is its share of the pre-activations.
        weight_hh: of the state.
        light_hh: see ``state_maps.state_map``.
        sequence: of h, for its shape.
        ragged: whether samples have different lengths.
        g: geometry of the input convolution.
        need_dx: whether x needs a gradient.
    """

    def __init__(
        self,
        x: Tensor | None,
        weight_ih: Tensor | None,
        weight_hh: Tensor,
        light_hh: Tensor | None,
        sequence: Tensor,
        ragged: bool,
        g: Geometry,
        need_dx: bool,
    ) -> None:
        (batch, frames, hidden), size = sequence.shape[:3], sequence.shape[3:]
        room = weight_hh.new_zeros if ragged else weight_hh.new_empty
        self.x, self.weight_ih, self.g, self.need_dx = x, weight_ih, g, need_dx
        self.h = room(sequence.shape)
        self.dz = room(batch, frames, 4 * hidden, *size)
        self.map = state_map(weight_hh, light_hh, size, batch, frames)
        self.product, self.inner = self.map.product(), self.map.inner(frames)

    def step(self, t: int, dz: Tensor, h: Tensor, wanted: bool) -> Tensor | None:
        """The gradient of h before frame t, if ``wanted``.

        Args:
            t: the frame.
            dz: gradient of its pre-activations [n, 4 hidden, H, W].
            h: [n, hidden, H, W] before it.
            wanted: whether that gradient is.
        """
        n = dz.shape[0]
        self.dz[:n, t], self.h[:n, t] = dz, h
        if not wanted:
            return None
        dh, inner = self.product(dz)
        if self.inner is not None:
            self.inner[:n, t] = inner
        return dh

    def gradients(self) -> Gradients:
        """Of x, weight_ih, weight_hh, the bias and light_hh."""
        dz = self.dz.flatten(0, 1)
        inner = None if self.inner is None else self.inner.flatten(0, 1)
        d_weight_hh, d_light_hh = self.map.weight_gradients(self.h.flatten(0, 1), dz, inner)
        if self.x is None or self.weight_ih is None:
            return self.dz, None, d_weight_hh, None, d_light_hh
        x, dx = self.x.flatten(0, 1), None
        d_weight_ih = convolution.weight_gradient(x, dz, self.weight_ih, self.g)
        if self.need_dx:
            dx = convolution.data_gradient(dz, x, self.weight_ih, self.g).view_as(self.x)
            if dx.stride() != torch.empty_like(self.x, device='meta').stride():
                dx = torch.empty_like(self.x).copy_(dx)
        return dx, d_weight_ih, d_weight_hh, dz.sum((0, 2, 3)), d_light_hh


class ByStep:
    """All gradients of cat(x, h) at every step, where what a step needs fits into the caches.

    The arguments are those of ``AtOnce``; full gates.
    """

    def __init__(
        self,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        light_hh: None,
        sequence: Tensor,
        ragged: bool,
        g: Geometry,
        need_dx: bool,
    ) -> None:
        batch, size = sequence.shape[0], sequence.shape[3:]
        self.x, self.dx, self.padding = x, None, [(k - 1) // 2 for k in weight_hh.shape[2:]]
        self.weight = torch.cat([weight_ih, weight_hh], 1)
        if need_dx:
            self.dx = (torch.zeros_like if ragged else torch.empty_like)(x)
        into = self.weight if need_dx else weight_hh
        self.product = state_map(into, None, size, batch, 1).product()
        wide = torch.promote_types(weight_hh.dtype, torch.float32)
        self.d_weight = torch.zeros_like(self.weight, dtype=wide)
        self.d_bias = self.d_weight.new_zeros(len(weight_hh))

    def step(self, t: int, dz: Tensor, h: Tensor, wanted: bool) -> Tensor | None:
        """See ``AtOnce.step``."""
        n, inputs = dz.shape[0], self.x.shape[2]
        both = torch.cat([self.x[:n, t], h], 1)
        one, mask = (1, 1), (False, True, True)
        _, d_weight, d_bias = torch.ops.aten.convolution_backward(
            dz,
            both,
            self.weight,
            [self.weight.shape[0]],
            one,
            self.padding,
            one,
            False,
            (0, 0),
            1,
            mask,
        )
        self.d_weight += d_weight
        self.d_bias += d_bias
        if self.dx is None:
            return self.product(dz)[0] if wanted else None
        dx, dh = self.product(dz)[0].split([inputs, h.shape[1]], 1)
        self.dx[:n, t] = dx
        return dh

    def gradients(self) -> Gradients:
        """See ``AtOnce.gradients``."""
        inputs, hidden = self.x.shape[2], self.weight.shape[1] - self.x.shape[2]
        d_weight, d_bias = (d.to(self.weight.dtype) for d in (self.d_weight, self.d_bias))
        d_weight_ih, d_weight_hh = d_weight.split([inputs, hidden], 1)
        return self.dx, d_weight_ih.contiguous(), d_weight_hh.contiguous(), d_bias, None
