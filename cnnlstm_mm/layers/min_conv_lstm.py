"""The convolutional minLSTM layer: gates from the input alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlstm_mm.options import check_choice

from . import gpu, separable
from .fused import must_be_plain
from .geometry import Geometry, Pair, conv2d
from .input_conv import input_conv
from .ragged import Ragged
from .scan import plain_scan, scan
from .stack import RecurrentStack, Shapes


class MinConvLSTM(RecurrentStack):
    """Convolutional minLSTM, used as ``nn.GRU`` is: ``output, h = layer(x, h)``.

    The minimal LSTM of Feng et al., "Were RNNs All We Needed?" (2024), with convolutions * in the
    place of its linear layers; . is the elementwise product::

        i = sigmoid(W_i * x_t + b_i)
        f = sigmoid(W_f * x_t + b_f)
        g = W_g * x_t + b_g                    (tanh of it with candidate='tanh')
        h = f / (f + i) . h + i / (f + i) . g

    No gate reads h, so that the convolutions of all frames are one, and the recurrence is one
    multiply-add per value and step. h is a weighted mean of candidates and cannot grow.

    Parameters of layer k (``_reverse`` is appended for the backward direction), in the order i, f,
    g: ``weight_ih_l{k}`` [3 hidden, in, kh, kw] and ``bias_l{k}`` [3 hidden]; with depthwise
    convolutions ``depth_ih_l{k}`` [in, 1, kh, kw] and ``weight_ih_l{k}`` [3 hidden, in, 1, 1].

    Args:
        in_channels: channels of x.
        hidden_channels: channels of h; a list gives each of the stacked layers its own.
        kernel_size: in pixels; one int or (height, width).
        num_layers: stacked layers; the deeper ones are always 'same' with stride 1.
        padding: of the first layer's convolution, 'same' or 'valid'.
        stride: of the first layer's convolution.
        dilation: of the first layer's convolution.
        bias: whether there are biases.
        forget_bias: initial bias of f.
        candidate: 'linear', as in the paper, or 'tanh'.
        bidirectional: a second set of weights runs from the last frame to the first; channels are
            concatenated.
        dropout: share of each layer's input set to zero in training, by one mask per sample for
            all frames.
        gate_conv: 'full', or 'depthwise': depthwise, then 1x1.
        fused: operators with backwards of their own. False: plain operations, which can be
            differentiated twice; ``torch.func`` and export take these by themselves.

    Shape:
        x [N, T, C, H, W]; output [N, T, D * hidden, H', W']; h [num_layers * D, N, hidden, H', W'],
        D being 2 if bidirectional, else 1, and (H', W') ``output_size((H, W))``. h is float32
        where x is a half type or under autocast: sums over many steps need it.

    Raises:
        ValueError: for options or shapes that do not fit; the message names them.
    """

    state_names = ('h',)
    shown = 'kernel_size num_layers padding stride bidirectional candidate gate_conv'

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        kernel_size: int | Pair = 3,
        *,
        num_layers: int = 1,
        padding: str = 'same',
        stride: int | Pair = 1,
        dilation: int | Pair = 1,
        bias: bool = True,
        forget_bias: float = 1.0,
        candidate: str = 'linear',
        bidirectional: bool = False,
        dropout: float = 0.0,
        gate_conv: str = 'full',
        fused: bool = True,
    ) -> None:
        super().__init__(
            in_channels,
            hidden_channels,
            kernel_size,
            num_layers=num_layers,
            padding=padding,
            stride=stride,
            dilation=dilation,
            bias=bias,
            forget_bias=forget_bias,
            bidirectional=bidirectional,
            dropout=dropout,
            gate_conv=gate_conv,
            fused=fused,
        )
        check_choice('candidate', candidate, 'linear', 'tanh')
        check_choice('gate_conv', gate_conv, 'full', 'depthwise')
        self.candidate = candidate
        self._register(self._shapes)
        self.reset_parameters()

    def _shapes(self, inputs: int, hidden: int) -> Shapes:
        shapes: Shapes = dict(weight_ih=(3 * hidden, inputs, *self.kernel_size))
        if self.gate_conv == 'depthwise':
            shapes = dict(
                depth_ih=(inputs, 1, *self.kernel_size), weight_ih=(3 * hidden, inputs, 1, 1)
            )
        if self.bias:
            shapes['bias'] = (3 * hidden,)
        return shapes

    def reset_parameters(self) -> None:
        """Draws initial values: Glorot-uniform weights, biases 0 but ``forget_bias`` for f."""
        for name, parameter in self.named_parameters():
            if name.startswith('bias'):
                nn.init.zeros_(parameter)
                parameter.data.chunk(3)[1].fill_(self.forget_bias)
            elif name.startswith('depth'):
                nn.init.kaiming_uniform_(parameter, nonlinearity='linear')
            else:
                nn.init.xavier_uniform_(parameter)

    def multiply_adds(self, size: Pair) -> int:
        """Multiply-adds in the convolutions of one step of one sample of ``size`` pixels."""
        height, width = self.output_size(size)
        taps, total = self.kernel_size[0] * self.kernel_size[1], 0
        for layer, hidden in enumerate(self.states.sizes):
            each = taps + 3 * hidden if self.gate_conv == 'depthwise' else taps * 3 * hidden
            total += self._inputs(layer) * each
        return self.directions * total * height * width

    def forward(
        self, x: Tensor, h: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs over all frames.

        Args:
            x: [N, T, C, H, W].
            h: initial state [num_layers * D, N, hidden, H', W']; None for zeros.
            lengths: [N], how many frames of each sample count, 1 to T. The others change nothing:
                the output is 0 there, the final state is that after the last frame that counts, the
                backward direction starts at it.

        Returns:
            The sequence of h, and the final h.
        """
        self._check(x, None if h is None else (h,))
        before = None if h is None else self.states.split(h)
        valid = None
        if lengths is not None and len(x):
            ragged = Ragged(lengths, x)
            valid = ragged.valid[ragged.back][..., None, None, None]  # [N, T, 1, 1, 1]
            x = x.masked_fill(~valid, 0)
        finals = []
        for layer in range(self.num_layers):
            sequences = []
            for direction in range(self.directions):
                block = None if before is None else before[layer * self.directions + direction]
                sequence = self._run(x, layer, direction, block, valid)
                finals.append(sequence[:, 0 if direction else -1])
                sequences.append(sequence)
            output = torch.cat(sequences, 2) if self.bidirectional else sequence
            x = self._narrow(output, x.dtype)  # [N, T, D * hidden, H', W']
            if valid is not None:
                x = x.masked_fill(~valid, 0)
        return x, self.states.join(finals)

    @staticmethod
    def _narrow(output: Tensor, dtype: torch.dtype) -> Tensor:
        if torch.is_autocast_enabled(output.device.type):
            dtype = torch.get_autocast_dtype(output.device.type)
        return output.to(dtype)

    def _run(
        self, x: Tensor, layer: int, direction: int, h: Tensor | None, valid: Tensor | None
    ) -> Tensor:
        """One layer in one direction: h after every step, at least in float32."""
        x = self._narrow(x, x.dtype)
        weights = {k: w.to(x.dtype) for k, w in self._weights(layer, direction).items()}
        x, g = self._drop(x), self._geometry(layer, x.shape[-2:])
        plain = not self.fused or must_be_plain()
        z = self._gates(x.flatten(0, 1), weights, g, plain).unflatten(0, x.shape[:2])
        z_i, z_f, z_g = z.to(torch.promote_types(z.dtype, torch.float32)).chunk(3, 2)
        odds = F.logsigmoid(z_f) - F.logsigmoid(z_i)  # f / (f + i) is its sigmoid
        f, i = odds.sigmoid(), (-odds).sigmoid()
        b = i * (z_g.tanh() if self.candidate == 'tanh' else z_g)
        if valid is not None:  # padding keeps h as it is, in both directions
            f, b = f.masked_fill(~valid, 1), b.masked_fill(~valid, 0)
        h = torch.zeros_like(b[:, 0]) if h is None else h.to(b.dtype)
        return (plain_scan if plain else scan)(f, b, h, bool(direction))

    def _gates(self, x: Tensor, weights: dict, g: Geometry, plain: bool) -> Tensor:
        """Pre-activations of i, f, g [M, 3 hidden, H', W'] from x [M, C, H, W]."""
        weight, bias = weights['weight_ih'], weights.get('bias')
        if self.gate_conv == 'depthwise':
            convolve = separable.plain if plain or gpu.runs(x) else separable.separable
            return convolve(x, weights['depth_ih'], weight, bias, g)
        if plain or not len(x):
            return conv2d(x, weight, bias, g)
        with torch.autocast(x.device.type, enabled=False):
            return input_conv(x, weight, bias, *g)
