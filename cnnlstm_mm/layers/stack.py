"""Options, parameters and input that the recurrent layers have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlstm_mm.options import check_bool, check_choice, check_fraction, check_int, check_number

from .geometry import Geometry, Pair, geometry, pair
from .states import StateLayout

Shapes = dict[str, tuple[int, ...]]


class RecurrentStack(nn.Module):
    """Stacked recurrent layers over [N, T, C, H, W], in one direction or in both.

    A subclass makes its parameters with :meth:`_register` and names its state in ``state_names``.
    The arguments are those of :class:`ConvLSTM`.

    Attributes:
        directions: 2 if bidirectional, else 1.
        states: layout of a state of all layers.
        num_layers: layers in the stack.

    Raises:
        ValueError: for options that do not fit; the message names them.
    """

    state_names: tuple[str, ...] = ()
    shown = 'kernel_size num_layers padding stride bidirectional gate_conv'

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: int | Pair,
        *,
        num_layers: int,
        padding: str,
        stride: int | Pair,
        dilation: int | Pair,
        bias: bool,
        forget_bias: float,
        bidirectional: bool,
        dropout: float,
        gate_conv: str,
        fused: bool,
    ) -> None:
        super().__init__()
        check_choice('padding', padding, 'same', 'valid')
        check_int(in_channels=in_channels)
        check_bool(bias=bias, bidirectional=bidirectional, fused=fused)
        check_number(forget_bias=forget_bias)
        check_fraction(dropout=dropout)
        self.in_channels = in_channels
        self.directions = 2 if bidirectional else 1
        self.states = StateLayout(hidden_channels, num_layers, self.directions)
        self.hidden_channels = self.states.hidden
        self.kernel_size = pair(kernel_size, 'kernel_size')
        self.num_layers = len(self.states.sizes)
        self.padding = padding
        self.stride = pair(stride, 'stride')
        self.dilation = pair(dilation, 'dilation')
        self.bias = bias
        self.forget_bias = forget_bias
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.gate_conv = gate_conv
        self.fused = fused

    def _register(self, shapes: Callable[[int, int], Shapes]) -> None:
        """Makes the parameters; ``shapes`` of a layer by name, from its inputs and channels."""
        for layer, hidden in enumerate(self.states.sizes):
            of_layer = shapes(self._inputs(layer), hidden)
            for direction in range(self.directions):
                for name, shape in of_layer.items():
                    parameter = nn.Parameter(torch.empty(shape))
                    self.register_parameter(name + self._suffix(layer, direction), parameter)
        self._names = tuple(of_layer)

    def _inputs(self, layer: int) -> int:
        return self.states.sizes[layer - 1] * self.directions if layer else self.in_channels

    @staticmethod
    def _suffix(layer: int, direction: int) -> str:
        return f'_l{layer}' + ('_reverse' if direction else '')

    def _weights(self, layer: int, direction: int) -> dict[str, Tensor]:
        """The parameters of a layer in one direction, without the suffix."""
        suffix = self._suffix(layer, direction)
        return {name: getattr(self, name + suffix) for name in self._names}

    def output_size(self, size: Pair) -> Pair:
        """Height and width of the output for frames of ``size`` (height, width) in pixels.

        Raises:
            ValueError: if a 'valid' kernel does not fit into the frame.
        """
        return self._geometry(0, size).output_size(size, self.kernel_size)

    def _geometry(self, layer: int, size: Pair) -> Geometry:
        """Of a layer's input convolution; only the first has padding, stride and dilation."""
        options = () if layer else (self.padding, self.stride, self.dilation)
        return geometry(size, self.kernel_size, *options)

    def _drop(self, x: Tensor) -> Tensor:
        """``x`` with dropout, by one mask per sample, the same for every layout of ``x``."""
        if not (self.training and self.dropout):
            return x
        ones = torch.ones_like(x[:, :1], memory_format=torch.contiguous_format)
        return x * F.dropout(ones, self.dropout)

    def _check(self, x: Tensor, state: Sequence[Tensor] | None) -> None:
        """Raises ValueError unless the layer can go on from ``state`` with ``x``."""
        if x.dim() != 5:
            raise ValueError(f'x: expected [N, T, C, H, W], got {list(x.shape)}')
        if x.shape[2] != self.in_channels:
            raise ValueError(
                f'x: expected {self.in_channels} channels, got {x.shape[2]} in {list(x.shape)}; '
                f'fix: build the layer with in_channels={x.shape[2]}'
            )
        if x.shape[1] == 0:
            raise ValueError(f'x: expected at least 1 frame, got no frames in {list(x.shape)}')
        size = self.output_size(x.shape[-2:])
        if state is not None:
            self.states.check(state, x, size, self.state_names)

    def _apply(self, fn: Callable, recurse: bool = True) -> nn.Module:
        # No channels_last weights: torch.nn.utils.parameters_to_vector takes flat views.
        return super()._apply(lambda t: fn(t).contiguous(), recurse)

    def extra_repr(self) -> str:
        """The options in ``repr``."""
        options = [f'{name}={getattr(self, name)!r}' for name in self.shown.split()]
        return ', '.join([f'{self.in_channels}, {self.hidden_channels}', *options])

    def __prepare_scriptable__(self):
        raise RuntimeError(
            f'expected an eager module, got {type(self).__name__} in torch.jit.script, which '
            'cannot follow it; fix: use torch.export or torch.compile (torch.jit.trace would fix '
            'the number of steps)'
        )
