"""Options, parameters and sizes of a ConvLSTM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cnnlstm_mm.options import check_bool, check_fraction, check_int, check_number

from .gates import GATES, NormedGates
from .geometry import Pair, output_size, pair


class ConvLSTMBase(nn.Module):
    """What ``ConvLSTM`` has before it runs; see there for the arguments."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int | Pair = 3,
        *,
        num_layers: int = 1,
        padding: str = 'same',
        stride: int | Pair = 1,
        dilation: int | Pair = 1,
        bias: bool = True,
        forget_bias: float = 1.0,
        recurrent_activation: str = 'sigmoid',
        bidirectional: bool = False,
        go_backwards: bool = False,
        peephole: bool | Pair = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        norm: bool = False,
        gate_conv: str = 'full',
        fused: bool = True,
    ) -> None:
        super().__init__()
        choose('padding', padding, 'same', 'valid')
        choose('gate_conv', gate_conv, *GATES)
        choose('recurrent_activation', recurrent_activation, 'sigmoid', 'hard_sigmoid')
        check_int(in_channels=in_channels, hidden_channels=hidden_channels, num_layers=num_layers)
        check_bool(
            bias=bias,
            bidirectional=bidirectional,
            go_backwards=go_backwards,
            norm=norm,
            fused=fused,
        )
        check_number(forget_bias=forget_bias)
        check_fraction(dropout=dropout, recurrent_dropout=recurrent_dropout)
        if norm and gate_conv == 'pooled':
            raise ValueError(
                "norm needs gate_conv='full' or 'depthwise': pooled gates have no common channels"
            )
        self.in_channels = in_channels
        self.hidden_channels = hidden_channels
        self.kernel_size = pair(kernel_size, 'kernel_size')
        self.num_layers = num_layers
        self.padding = padding
        self.stride = pair(stride, 'stride')
        self.dilation = pair(dilation, 'dilation')
        self.bias = bias
        self.forget_bias = forget_bias
        self.recurrent_activation = recurrent_activation
        self.bidirectional = bidirectional
        self.directions = 2 if bidirectional else 1
        self.go_backwards = go_backwards
        if peephole is True:
            peephole = (1, 1)
        self.peephole = None if peephole is False else pair(peephole, 'peephole')
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.norm = norm
        self.gate_conv = gate_conv
        self.fused = fused
        gates = GATES[gate_conv]
        self._gates = NormedGates(gates) if norm else gates
        for layer in range(num_layers):
            shapes = dict(
                self._gates.shapes(self._inputs(layer), hidden_channels, self.kernel_size)
            )
            if bias:
                shapes['bias'] = (4 * hidden_channels,)
            if self.peephole:
                shapes['peephole'] = (3, hidden_channels, *self.peephole)
            for direction in range(self.directions):
                for name, shape in shapes.items():
                    self.register_parameter(
                        name + self._suffix(layer, direction), nn.Parameter(torch.empty(shape))
                    )
        self._names = tuple(shapes)
        self.reset_parameters()

    def _inputs(self, layer: int) -> int:
        if layer:
            return self.hidden_channels * self.directions
        return self.in_channels

    @staticmethod
    def _suffix(layer: int, direction: int) -> str:
        return f'_l{layer}' + ('_reverse' if direction else '')

    def _weights(self, layer: int, direction: int) -> dict[str, Tensor]:
        suffix = self._suffix(layer, direction)
        return {name: getattr(self, name + suffix) for name in self._names}

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Keras's initial values.

        Glorot-uniform for the input's weights, orthogonal for the state's, 0
        for biases, but ``forget_bias`` for that of the forget gate. A
        depthwise kernel's values in and out are its taps, not taps times
        channels as Keras counts them, which would start a light variant with
        gates that scarcely see the input.
        """
        for name, weight in self.named_parameters():
            if name.startswith(('weight_hh', 'gate_hh')):
                rows, columns, *kernel = weight.shape
                flat = nn.init.orthogonal_(weight.new_empty(weight[0].numel(), rows))
                flat = flat.view(*kernel, columns, rows)
                weight.copy_(flat.movedim((-1, -2), (0, 1)))
            elif name.startswith(('weight_', 'gate_', 'depth_')):
                taps = weight[0, 0].numel()
                fans = taps * (
                    2 if name.startswith('depth_') else weight.shape[0] + weight.shape[1]
                )
                limit = math.sqrt(6 / fans)
                weight.uniform_(-limit, limit)
            else:
                weight.fill_(1.0 if name.startswith('norm') else 0.0)
                if name.startswith('bias'):
                    weight.chunk(4)[1].fill_(self.forget_bias)

    def output_size(self, size: Pair) -> Pair:
        """Height and width of the output.

        Args:
            size: height and width of the frames, in pixels.

        Raises:
            ValueError: if a 'valid' kernel does not fit into the frame.
        """
        return output_size(size, self.kernel_size, self.padding, self.stride, self.dilation)

    def multiply_adds(self, size: Pair) -> int:
        """Multiply-adds in the convolutions of one step of one sample.

        Args:
            size: height and width of the frames, in pixels.
        """
        out = self.output_size(size)
        return self.directions * sum(
            self._gates.multiply_adds(
                self._inputs(layer), self.hidden_channels, self.kernel_size, out
            )
            for layer in range(self.num_layers)
        )

    def extra_repr(self) -> str:
        shown = (
            'kernel_size',
            'num_layers',
            'padding',
            'stride',
            'bidirectional',
            'peephole',
            'gate_conv',
        )
        return ', '.join(
            [
                f'{self.in_channels}, {self.hidden_channels}',
                *(f'{name}={getattr(self, name)!r}' for name in shown),
            ]
        )


def choose(name: str, value: str, *known: str) -> None:
    """Raises a ValueError if ``value`` is none of the ``known`` ones."""
    if value not in known:
        raise ValueError(f'{name} must be one of {known}, got {value!r}')
