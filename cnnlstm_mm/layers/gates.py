"""Variants of a ConvLSTM's pre-activations.

With C input and F hidden channels, K = kh kw taps and P output pixels, a layer has these
parameters (and 4 F biases), and a step of one sample these multiply-adds:

full       4 F (C + F) K                    4 F (C + F) K P
depthwise  (C + F) (K + 4 F)                (C + F) (K + 4 F) P
pooled     C (K + F) + F F K + 3 F (C + F)  (C (K + F) + F F K) P + 3 F (C + F)

At MobileNetV2's shape, 1280 to 256 channels on 7 x 7 pixels with 3 x 3 taps, these are 14.16 M and
693.6 M, 1.59 M and 77.7 M, 2.11 M and 46.7 M.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from . import separable
from .geometry import Geometry, Pair, conv2d

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]
Share = Callable[[Tensor], Tensor]


class FullGates:
    """One convolution of the input and one of the state for all four gates (Shi et al. 2015)."""

    @staticmethod
    def shapes(inputs: int, hidden: int, kernel: Pair) -> Shapes:
        """Shapes of the parameters by name, for ``hidden`` channels."""
        return dict(
            weight_ih=(4 * hidden, inputs, *kernel), weight_hh=(4 * hidden, hidden, *kernel)
        )

    @staticmethod
    def multiply_adds(inputs: int, hidden: int, kernel: Pair, out: Pair) -> int:
        """Multiply-adds of a step of one sample with output size ``out``."""
        return 4 * hidden * (inputs + hidden) * kernel[0] * kernel[1] * out[0] * out[1]

    @staticmethod
    def of_input(x: Tensor, weights: Weights, bias: Tensor | None, g: Geometry) -> Tensor:
        """The input's share: x [M, C, H, W] to [M, 4 hidden, H', W'], gates i, f, g, o."""
        return conv2d(x, weights['weight_ih'], bias, g)

    @staticmethod
    def of_state(weights: Weights) -> Share:
        """The state's share, as a function of h [N, hidden, H', W']."""
        return lambda h: conv2d(h, weights['weight_hh'])


class DepthwiseGates:
    """A depthwise convolution, then a 1x1 product, for the input and for the state."""

    @staticmethod
    def shapes(inputs: int, hidden: int, kernel: Pair) -> Shapes:
        """Shapes of the parameters by name, for ``hidden`` channels."""
        return dict(
            depth_ih=(inputs, 1, *kernel),
            weight_ih=(4 * hidden, inputs, 1, 1),
            depth_hh=(hidden, 1, *kernel),
            weight_hh=(4 * hidden, hidden, 1, 1),
        )

    @staticmethod
    def multiply_adds(inputs: int, hidden: int, kernel: Pair, out: Pair) -> int:
        """Multiply-adds of a step of one sample with output size ``out``."""
        return (inputs + hidden) * (kernel[0] * kernel[1] + 4 * hidden) * out[0] * out[1]

    @staticmethod
    def of_input(
        x: Tensor,
        weights: Weights,
        bias: Tensor | None,
        g: Geometry,
        convolve: Callable[..., Tensor] = separable.plain,
    ) -> Tensor:
        """As FullGates.of_input; ``convolve`` is the depthwise convolution and the 1x1 product."""
        return convolve(x, weights['depth_ih'], weights['weight_ih'], bias, g)

    @staticmethod
    def state_weights(weights: Weights) -> tuple[Tensor, Tensor]:
        """Those of the state's share, as ``state_maps.DepthwiseMap`` takes them."""
        return weights['weight_hh'], weights['depth_hh']

    @staticmethod
    def of_state(weights: Weights) -> Share:
        """As FullGates.of_state."""
        return lambda h: F.conv2d(conv2d(h, weights['depth_hh']), weights['weight_hh'])


class PooledGates:
    """Gates without space, from averages over the frame; the candidate g keeps its convolutions.

    After Zhang et al., "Attention in Convolutional LSTM for Gesture Recognition" (NeurIPS 2018),
    who found that the spatial convolutions in the three gates scarcely contribute. The input's
    share of g is a depthwise convolution and a 1x1 product, the state's share a full convolution.
    """

    @staticmethod
    def shapes(inputs: int, hidden: int, kernel: Pair) -> Shapes:
        """Shapes of the parameters by name, for ``hidden`` channels."""
        return dict(
            depth_ih=(inputs, 1, *kernel),
            weight_ih=(hidden, inputs, 1, 1),
            gate_ih=(3 * hidden, inputs),
            weight_hh=(hidden, hidden, *kernel),
            gate_hh=(3 * hidden, hidden),
        )

    @staticmethod
    def multiply_adds(inputs: int, hidden: int, kernel: Pair, out: Pair) -> int:
        """Multiply-adds of a step of one sample with output size ``out``."""
        taps, pixels = kernel[0] * kernel[1], out[0] * out[1]
        return (inputs * (taps + hidden) + hidden * hidden * taps) * pixels + 3 * hidden * (
            inputs + hidden
        )

    @staticmethod
    def of_input(
        x: Tensor,
        weights: Weights,
        bias: Tensor | None,
        g: Geometry,
        convolve: Callable[..., Tensor] = separable.plain,
    ) -> Tensor:
        """As DepthwiseGates.of_input."""
        gate_bias = candidate_bias = None
        if bias is not None:
            i, f, candidate_bias, o = bias.chunk(4)
            gate_bias = torch.cat([i, f, o])
        z = convolve(x, weights['depth_ih'], weights['weight_ih'], candidate_bias, g)
        return PooledGates.assemble(F.linear(x.mean((2, 3)), weights['gate_ih'], gate_bias), z)

    @staticmethod
    def state_weights(weights: Weights) -> tuple[Tensor, Tensor]:
        """Those of the state's share, as ``state_maps.PooledMap`` takes them."""
        return weights['weight_hh'], weights['gate_hh']

    @staticmethod
    def of_state(weights: Weights) -> Share:
        """As FullGates.of_state."""
        return lambda h: PooledGates.assemble(
            F.linear(h.mean((2, 3)), weights['gate_hh']), conv2d(h, weights['weight_hh'])
        )

    @staticmethod
    def assemble(gates: Tensor, g: Tensor) -> Tensor:
        """[M, 3 hidden] for i, f, o and [M, hidden, H, W] for g to [M, 4 hidden, H, W]."""
        i, f, o = (k[..., None, None].expand_as(g) for k in gates.chunk(3, 1))
        return torch.cat([i, f, g, o], 1)


class NormedGates:
    """Layer normalization over the channels of both shares, each with a gain; the bias comes after.

    Ba et al., "Layer Normalization" (2016).

    Args:
        gates: FullGates or DepthwiseGates.
    """

    def __init__(self, gates: type) -> None:
        self.gates = gates
        self.multiply_adds = gates.multiply_adds

    def shapes(self, inputs: int, hidden: int, kernel: Pair) -> Shapes:
        """Shapes of the parameters by name, for ``hidden`` channels."""
        return dict(
            self.gates.shapes(inputs, hidden, kernel), norm_ih=(4 * hidden,), norm_hh=(4 * hidden,)
        )

    def of_input(self, x: Tensor, weights: Weights, bias: Tensor | None, g: Geometry) -> Tensor:
        """As FullGates.of_input."""
        z = channel_norm(self.gates.of_input(x, weights, None, g), weights['norm_ih'])
        return z if bias is None else z + bias[:, None, None]

    def of_state(self, weights: Weights) -> Share:
        """As FullGates.of_state."""
        recur = self.gates.of_state(weights)
        return lambda h: channel_norm(recur(h), weights['norm_hh'])


def channel_norm(z: Tensor, gain: Tensor) -> Tensor:
    """``z`` [N, C, H, W] normalized over C at each place, times ``gain`` [C]."""
    return F.layer_norm(z.movedim(1, -1), gain.shape, gain).movedim(-1, 1)


GATES = dict(full=FullGates, depthwise=DepthwiseGates, pooled=PooledGates)
