"""The convolutional LSTM layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import ConvLSTMBase
from .fused import must_be_plain, run_operator
from .gates import FullGates
from .geometry import output_size
from .ragged import Ragged
from .reference_loop import loop

State = tuple[Tensor, Tensor]


class ConvLSTM(ConvLSTMBase):
    """Convolutional LSTM (Shi et al., NIPS 2015), used as ``nn.LSTM`` is.

    ``output, (h, c) = layer(x, (h, c))``; the state is always explicit.
    With * as convolution and . as the elementwise product (the p terms only
    with ``peephole``)::

        i = sigmoid(W_i * x_t + R_i * h + b_i + p_i . c)
        f = sigmoid(W_f * x_t + R_f * h + b_f + p_f . c)
        g = tanh(W_g * x_t + R_g * h + b_g)
        c = f . c + i . g
        o = sigmoid(W_o * x_t + R_o * h + b_o + p_o . c)
        h = o . tanh(c)

    Parameters of layer k (``_reverse`` is appended for the backward
    direction), gates in the order i, f, g, o:

    - ``weight_ih_l{k}`` [4 hidden, in, kh, kw]
    - ``weight_hh_l{k}`` [4 hidden, hidden, kh, kw]
    - ``bias_l{k}`` [4 hidden]

    Args:
        in_channels: channels of x.
        hidden_channels: channels of h and c.
        kernel_size: of both convolutions, in pixels; one int or (height,
            width).
        num_layers: stacked layers; the deeper ones are always 'same' with
            stride 1.
        padding: of the first layer's input convolution, 'same' or 'valid'. The
            recurrent one is always 'same'.
        stride: of the first layer's input convolution.
        dilation: of the first layer's input convolution.
        bias: whether there are biases.
        forget_bias: initial bias of the forget gate.
        recurrent_activation: 'sigmoid', or 'hard_sigmoid', Keras 3's relu6(x +
            3) / 6. (Keras 2, whose default it was here, computed clip(0.2 x +
            0.5, 0, 1).)
        bidirectional: a second set of weights runs from the last frame to the
            first; channels are concatenated.
        go_backwards: runs from the last frame to the first and returns the
            sequence in that order, as Keras does.
        peephole: True for one weight per channel and gate, (height, width) for
            a map of that size, which is resized to other feature sizes:
            ``peephole_l{k}`` [3, hidden, height, width] for i, f, o.
        dropout: share of a layer's input that is set to zero in training, by
            one mask a sample for all frames. (Keras draws one for each gate.)
        recurrent_dropout: the same for h on its way into the recurrent
            convolution.
        norm: layer normalization over the channels of W * x and of R * h, each
            with a gain (Ba et al. 2016).
        gate_conv: 'full'; 'depthwise' (depthwise, then 1x1); or 'pooled'
            (gates without space, Zhang et al., NeurIPS 2018). See ``gates.py``
            for their parameters.
        fused: the operator with a backward of its own, the fast one. False
            takes plain operations, which can be differentiated twice;
            ``torch.func`` and export take these by themselves.

    Shape:
        x [N, T, C, H, W]; output [N, T, D * hidden, H', W']; h and c
        [num_layers * D, N, hidden, H', W'], D being 2 if bidirectional, else
        1, and (H', W') ``output_size((H, W))``.

    Raises:
        ValueError: for options or shapes that do not fit; the message names
            them.
    """

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Runs over all frames.

        Args:
            x: [N, T, C, H, W].
            state: initial (h, c), each [num_layers * D, N, hidden, H', W'];
                None for zeros.
            lengths: [N], how many frames of each sample count, 1 to T. The
                others change nothing: the output is 0 there, the final state
                is that after the last frame that counts, the backward
                direction starts at it.

        Returns:
            The sequence of h, and the final (h, c). Under autocast x's and h's
            dtype is that of autocast, c's float32.
        """
        self._check(x, state)
        ragged = None if lengths is None else Ragged(lengths, x)
        if ragged:
            x = ragged.sort(x)
            state = state if state is None else tuple(s[:, ragged.order] for s in state)
        finals = []
        for layer in range(self.num_layers):
            sequences = []
            for direction in range(self.directions):
                block = layer * self.directions + direction
                h, c = (None, None) if state is None else (s[block] for s in state)
                sequence, *final = self._run(
                    x, layer, direction, h, c, ragged.batch_sizes if ragged else None
                )
                sequences.append(sequence)
                finals.append(final)
            x = (
                torch.cat(sequences, 2) if self.bidirectional else sequence
            )  # [N, T, D hidden, H', W']
        h, c = (torch.stack(s) for s in zip(*finals))  # [num_layers D, N, hidden, H', W']
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
        batch_sizes: list[int] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One layer in one direction: the sequence in the order of the frames,
        and the last h and c.
        """
        weights = self._weights(layer, direction)
        wide = x.dtype
        if torch.is_autocast_enabled(x.device.type):
            wide, narrow = torch.float32, torch.get_autocast_dtype(x.device.type)
            x, h = x.to(narrow), h if h is None else h.to(narrow)
            weights = {
                name: w if name == 'peephole' else w.to(narrow) for name, w in weights.items()
            }
        peephole, bias = weights.pop('peephole', None), weights.get('bias')
        if self.training and self.dropout:
            x = x * F.dropout(torch.ones_like(x[:, :1]), self.dropout)
        geometry = (
            {} if layer else dict(padding=self.padding, stride=self.stride, dilation=self.dilation)
        )
        size = output_size(x.shape[-2:], self.kernel_size, **geometry)
        c = (
            x.new_zeros(x.shape[0], self.hidden_channels, *size, dtype=wide)
            if c is None
            else c.to(wide)
        )
        mask = None
        if self.training and self.recurrent_dropout:
            mask = F.dropout(torch.ones_like(c), self.recurrent_dropout)
        if peephole is not None and self.peephole not in ((1, 1), size):
            peephole = F.interpolate(peephole, size, mode='bilinear', align_corners=False)
        options = dict(
            peephole=peephole,
            mask=mask,
            hard=self.recurrent_activation == 'hard_sigmoid',
            reverse=self.go_backwards != bool(direction),
            batch_sizes=batch_sizes,
        )
        if self._gates is FullGates and self.fused and not must_be_plain():
            return run_operator(
                x, weights['weight_ih'], weights['weight_hh'], bias, h, c, geometry, **options
            )
        gates_x = self._gates.of_input(x.flatten(0, 1), weights, bias, **geometry)
        gates_x = tuple(g.unflatten(0, x.shape[:2]) for g in gates_x)  # [N, T, 4 hidden, H', W']
        h = torch.zeros_like(c, dtype=x.dtype) if h is None else h
        return loop(gates_x, self._gates.of_state(weights), self._gates.split, h, c, **options)

    def _check(self, x: Tensor, state: State | None) -> None:
        if x.dim() != 5:
            raise ValueError(f'x must be [N, T, C, H, W], got {list(x.shape)}')
        if x.shape[2] != self.in_channels:
            raise ValueError(
                f'x {list(x.shape)} has {x.shape[2]} channels, but the layer '
                f'takes {self.in_channels}: build it with '
                f'in_channels={x.shape[2]}'
            )
        if x.shape[1] == 0:
            raise ValueError(f'x {list(x.shape)} has no frames: T must be at least 1')
        shape = [
            self.num_layers * self.directions,
            x.shape[0],
            self.hidden_channels,
            *self.output_size(x.shape[-2:]),
        ]
        if state is not None and (len(state) != 2 or any(list(s.shape) != shape for s in state)):
            raise ValueError(
                f'state must be (h, c), each {shape} for x {list(x.shape)}, '
                f'got {[list(s.shape) for s in state]}; None stands for zeros'
            )

    def __prepare_scriptable__(self):
        raise RuntimeError(
            'ConvLSTM cannot be scripted: use torch.export, torch.jit.trace or torch.compile'
        )
