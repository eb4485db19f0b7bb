"""Keras's initial values for the parameters of a ConvLSTM."""

from __future__ import annotations

import math

import torch
from torch import nn


@torch.no_grad()
def keras_init_(layer: nn.Module, forget_bias: float) -> None:
    """Fills the parameters of ``layer``.

    Glorot-uniform for the input's weights, orthogonal for the state's, 0 for biases, but
    ``forget_bias`` for that of the forget gate. A depthwise kernel's fans are its taps, not taps
    times channels as Keras counts them, which would start a light variant with gates that scarcely
    see the input.
    """
    for name, weight in layer.named_parameters():
        if name.startswith(('weight_hh', 'gate_hh')):
            rows, columns, *kernel = weight.shape
            flat = nn.init.orthogonal_(weight.new_empty(weight[0].numel(), rows))
            weight.copy_(flat.view(*kernel, columns, rows).movedim((-1, -2), (0, 1)))
        elif name.startswith(('weight_', 'gate_', 'depth_')):
            channels = 2 if name.startswith('depth_') else weight.shape[0] + weight.shape[1]
            limit = math.sqrt(6 / (weight[0, 0].numel() * channels))
            weight.uniform_(-limit, limit)
        else:
            weight.fill_(1.0 if name.startswith('norm') else 0.0)
            if name.startswith('bias'):
                weight.chunk(4)[1].fill_(forget_bias)
