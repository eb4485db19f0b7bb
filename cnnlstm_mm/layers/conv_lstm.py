"""The convolutional LSTM layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlstm_mm.options import check_bool, check_choice, check_fraction

from . import gpu
from .fused import must_be_plain, run_operator
from .gates import GATES, NormedGates
from .geometry import Pair, pair
from .initialization import keras_init_
from .ragged import Ragged
from .reference_loop import GATE_ACTIVATIONS, loop
from .separable import separable
from .stack import RecurrentStack, Shapes

State = tuple[Tensor, Tensor]


class ConvLSTM(RecurrentStack):
    """Convolutional LSTM (Shi et al., NIPS 2015), used as ``nn.LSTM`` is.

    ``output, (h, c) = layer(x, (h, c))``; the state is always explicit. With * as convolution and .
    as the elementwise product (the p terms only with ``peephole``)::

        i = sigmoid(W_i * x_t + R_i * h + b_i + p_i . c)
        f = sigmoid(W_f * x_t + R_f * h + b_f + p_f . c)
        g = tanh(W_g * x_t + R_g * h + b_g)
        c = f . c + i . g
        o = sigmoid(W_o * x_t + R_o * h + b_o + p_o . c)
        h = o . tanh(c)

    Parameters of layer k (``_reverse`` is appended for the backward direction), gates in the order
    i, f, g, o:

    - ``weight_ih_l{k}`` [4 hidden, in, kh, kw]
    - ``weight_hh_l{k}`` [4 hidden, hidden, kh, kw]
    - ``bias_l{k}`` [4 hidden]

    Args:
        in_channels: channels of x.
        hidden_channels: channels of h and c; a list gives each of the stacked layers its own.
        kernel_size: of both convolutions, in pixels; one int or (height, width).
        num_layers: stacked layers, unless ``hidden_channels`` is a list; the deeper ones are always
            'same' with stride 1.
        padding: of the first layer's input convolution, 'same' or 'valid'. The recurrent one is
            always 'same'.
        stride: of the first layer's input convolution.
        dilation: of the first layer's input convolution.
        bias: whether there are biases.
        forget_bias: initial bias of the forget gate.
        activation: of g and of c in h, 'tanh' or 'relu'; 'relu' runs in plain operations.
        recurrent_activation: 'sigmoid'; 'hard_sigmoid', Keras 3's relu6(x + 3) / 6; or
            'hard_sigmoid_keras2', Keras 2's clip(0.2 x + 0.5, 0, 1), its ConvLSTM2D's default.
        bidirectional: a second set of weights runs from the last frame to the first; channels are
            concatenated.
        go_backwards: runs from the last frame to the first and returns the sequence in that order,
            as Keras does.
        peephole: True for one weight per channel and gate, (height, width) for a map of that size,
            which is resized to other feature sizes: ``peephole_l{k}`` [3, hidden, height, width]
            for i, f, o.
        dropout: share of each layer's input set to zero in training, by one mask per sample for
            all frames. (Keras draws one for each gate.)
        recurrent_dropout: the same for h before the recurrent convolution.
        norm: layer normalization over the channels of W * x and of R * h, each with a gain (Ba et
            al. 2016), in plain operations; not with gate_conv='pooled'.
        gate_conv: 'full'; 'depthwise' (depthwise, then 1x1); or 'pooled' (gates without space,
            Zhang et al., NeurIPS 2018). See ``gates.py`` for their parameters.
        fused: the fast operator with a hand-written backward. False: plain operations, which
            can be differentiated twice; ``torch.func`` and export take these by themselves.

    Shape:
        x [N, T, C, H, W]; output [N, T, D * hidden, H', W']; h and c [num_layers * D, N, hidden,
        H', W'], D being 2 if bidirectional, else 1, and (H', W') ``output_size((H, W))``. With a
        list of hidden channels h and c are [D, N, sum(hidden_channels), H', W'].

    Raises:
        ValueError: for options or shapes that do not fit; the message names them.
    """

    state_names = ('h', 'c')
    shown = 'kernel_size num_layers padding stride bidirectional peephole gate_conv'

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
        activation: str = 'tanh',
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
        check_choice('gate_conv', gate_conv, *GATES)
        check_choice('activation', activation, 'tanh', 'relu')
        check_choice('recurrent_activation', recurrent_activation, *GATE_ACTIVATIONS)
        check_bool(go_backwards=go_backwards, norm=norm)
        check_fraction(recurrent_dropout=recurrent_dropout)
        if norm and gate_conv == 'pooled':
            raise ValueError("norm: expected gate_conv='full' or 'depthwise', got 'pooled'")
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.go_backwards = go_backwards
        peephole = (1, 1) if peephole is True else peephole
        self.peephole = None if peephole is False else pair(peephole, 'peephole')
        self.recurrent_dropout = recurrent_dropout
        self.norm = norm
        self._gates = NormedGates(GATES[gate_conv]) if norm else GATES[gate_conv]
        self._register(self._shapes)
        self.reset_parameters()

    def _shapes(self, inputs: int, hidden: int) -> Shapes:
        shapes = self._gates.shapes(inputs, hidden, self.kernel_size)
        if self.bias:
            shapes['bias'] = (4 * hidden,)
        if self.peephole:
            shapes['peephole'] = (3, hidden, *self.peephole)
        return shapes

    def reset_parameters(self) -> None:
        """Draws Keras's initial values, see ``initialization.py``."""
        keras_init_(self, self.forget_bias)

    def multiply_adds(self, size: Pair) -> int:
        """Multiply-adds in the convolutions of one step of one sample of ``size`` pixels."""
        out = self.output_size(size)
        return self.directions * sum(
            self._gates.multiply_adds(self._inputs(layer), hidden, self.kernel_size, out)
            for layer, hidden in enumerate(self.states.sizes)
        )

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Runs over all frames.

        Args:
            x: [N, T, C, H, W].
            state: initial (h, c), shaped as the final ones; None for zeros.
            lengths: [N], how many frames of each sample count, 1 to T. The others change nothing:
                the output is 0 there, the final state is that after the last frame that counts, the
                backward direction starts at it.

        Returns:
            The sequence of h, and the final (h, c). Under autocast the dtype of h is that of
            autocast, c's float32.
        """
        self._check(x, state)
        ragged = Ragged(lengths, x) if lengths is not None and len(x) else None
        if ragged:
            x = ragged.sort(x)
            state = state if state is None else tuple(s[:, ragged.order] for s in state)
        states = None if state is None else [self.states.split(s) for s in state]
        finals = []
        for layer in range(self.num_layers):
            sequences = []
            for direction in range(self.directions):
                block = layer * self.directions + direction
                h, c = (None, None) if states is None else (s[block] for s in states)
                sequence, *final = self._run(x, layer, direction, h, c, ragged)
                sequences.append(sequence)
                finals.append(final)
            x = torch.cat(sequences, 2) if self.bidirectional else sequence  # [N, T, D F, H', W']
        h, c = map(self.states.join, zip(*finals))
        if self.go_backwards:
            x = ragged.flip(x) if ragged else x.flip(1)
        if ragged:
            x, h, c = x[ragged.back], h[:, ragged.back], c[:, ragged.back]
        return x, (h, c)

    def _run(
        self,
        x: Tensor,
        layer: int,
        direction: int,
        h: Tensor | None,
        c: Tensor | None,
        ragged: Ragged | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One layer in one direction: the sequence in the order of the frames, the last h and c."""
        weights = self._weights(layer, direction)
        peephole, wide = weights.pop('peephole', None), x.dtype
        if torch.is_autocast_enabled(x.device.type):
            wide, narrow = torch.float32, torch.get_autocast_dtype(x.device.type)
            x, h = x.to(narrow), h if h is None else h.to(narrow)
            weights = {name: w.to(narrow) for name, w in weights.items()}
        bias = weights.get('bias')
        x, g = self._drop(x), self._geometry(layer, x.shape[-2:])
        size = g.output_size(x.shape[-2:], self.kernel_size)
        if c is None:
            c = x.new_zeros(x.shape[0], self.states.sizes[layer], *size, dtype=wide)
        c = c.to(wide)
        mask = None
        if self.training and self.recurrent_dropout:
            mask = F.dropout(torch.ones_like(c), self.recurrent_dropout)
        if peephole is not None and self.peephole not in ((1, 1), size):
            peephole = F.interpolate(peephole, size, mode='bilinear', align_corners=False)
        options = dict(
            peephole=peephole,
            mask=mask,
            hard=GATE_ACTIVATIONS[self.recurrent_activation],
            reverse=self.go_backwards != bool(direction),
            batch_sizes=ragged.batch_sizes if ragged else None,
        )
        fused = self.fused and self.activation == 'tanh' and not self.norm and not must_be_plain()
        if fused and self.gate_conv == 'full':
            weight_ih, weight_hh = weights['weight_ih'], weights['weight_hh']
            return run_operator(x, weight_ih, weight_hh, bias, h, c, g, **options)
        fused = fused and not gpu.runs(c)
        convolve = dict(convolve=separable) if fused else {}
        gates_x = self._gates.of_input(x.flatten(0, 1), weights, bias, g, **convolve)
        gates_x = gates_x.unflatten(0, x.shape[:2])  # [N, T, 4 hidden, H', W']
        if fused:
            weight_hh, options['light_hh'] = self._gates.state_weights(weights)
            return run_operator(gates_x, None, weight_hh, None, h, c, g, **options)
        h = torch.zeros_like(c, dtype=x.dtype) if h is None else h
        recur = self._gates.of_state(weights)
        return loop(gates_x, recur, h, c, activation=self.activation, **options)
