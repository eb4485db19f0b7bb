"""LSTM over one vector per frame, pooled over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cnnlstm_mm.layers import ConvLSTM, MinConvLSTM
from cnnlstm_mm.layers.fused import must_be_plain
from cnnlstm_mm.layers.geometry import pair
from cnnlstm_mm.models.stepping import Size, State
from cnnlstm_mm.options import check_bool, check_fraction, check_int, check_sizes
from mmaction.registry import MODELS

from .recurrent_neck import RecurrentNeck

PYTORCH = dict(activation='tanh', recurrent_activation='sigmoid')  # what nn.LSTM has
CONVOLUTIONAL = (ConvLSTM, MinConvLSTM)  # with 1x1 kernels
SPATIAL_POOLS = ('avg', 'max', 'flatten')


@MODELS.register_module()
class LSTMPoolingNeck(RecurrentNeck):
    """One vector per frame, an LSTM over time, then pooling over time.

    Args:
        in_channels: Channels C of the backbone's feature; None takes the backbone's.
        hidden_channels: Size of the hidden state; a list stacks one layer for each size.
        num_layers: Layers of the LSTM.
        bidirectional: Run both ways over time.
        dropout: Between LSTM layers, as nn.LSTM's, and only where nn.LSTM runs.
        activation: 'tanh' or 'relu', of the candidate and of the cell state.
        recurrent_activation: 'sigmoid', 'hard_sigmoid' or 'hard_sigmoid_keras2', see
            :class:`cnnlstm_mm.layers.ConvLSTM`. That layer, with 1x1 kernels, runs where nn.LSTM
            lacks the option: other activations, layers of different sizes.
        spatial_pool: 'avg' or 'max' over the frame, or 'flatten', which keeps positions and needs
            ``spatial_size``.
        spatial_size: (h, w) of the feature map for 'flatten'; one int for a square.
        dense_channels: Size of a dense layer with ReLU on each frame's vector before the LSTM.
            None: no such layer.
        temporal_pool: 'last' hidden state, 'mean', 'max', 'attention', a softmax over time of a
            learned score, or 'sequence' (also 'none'), all steps.
        **kwargs: Of :class:`RecurrentNeck`: ``residual``, ``tbptt_len`` (needs 'sequence'),
            ``carry_prob``, ``in_index``, ``init_cfg``.

    Raises:
        ValueError: For an option out of range, 'flatten' without its size or a size without it,
            dropout where nn.LSTM is not used, or ``tbptt_len`` with pooling or in both directions.

    Source: Donahue et al., "Long-term Recurrent Convolutional Networks", CVPR 2015; Ng et al.,
    "Beyond Short Snippets", CVPR 2015. Weights start as in Keras: Glorot for the input,
    orthogonal for the recurrence, forget bias 1.
    """

    keeps_space = False
    pools = ('last', 'mean', 'max', 'attention', 'sequence')
    display_name = 'LSTM'

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        activation: str = 'tanh',
        recurrent_activation: str = 'sigmoid',
        spatial_pool: str = 'avg',
        spatial_size: int | Size | None = None,
        dense_channels: int | None = None,
        temporal_pool: str = 'last',
        **kwargs: Any,
    ) -> None:
        sizes, num_layers = check_sizes(hidden_channels, num_layers)
        check_int(optional=True, dense_channels=dense_channels)
        check_bool(bidirectional=bidirectional)
        check_fraction(dropout=dropout)
        if spatial_pool not in SPATIAL_POOLS:
            raise ValueError(
                f"expected spatial_pool in {SPATIAL_POOLS}, got {spatial_pool!r}; fix: 'avg'"
            )
        if (spatial_pool == 'flatten') != (spatial_size is not None):
            raise ValueError(
                "expected spatial_pool='flatten' and spatial_size=(h, w) together, got "
                f'{spatial_pool!r} and {spatial_size}; fix: set both or neither'
            )
        super().__init__(
            in_channels,
            (2 if bidirectional else 1) * (sizes[-1] if isinstance(sizes, tuple) else sizes),
            'sequence' if temporal_pool == 'none' else temporal_pool,
            **kwargs,
        )
        self.needs_maps = spatial_pool != 'avg'
        self.spatial_pool = spatial_pool
        self.spatial_size = None if spatial_size is None else pair(spatial_size, 'spatial_size')
        size = in_channels
        if self.spatial_size is not None:
            size *= self.spatial_size[0] * self.spatial_size[1]
        self.dense = None
        if dense_channels is not None:
            self.dense = nn.Linear(size, dense_channels)
            size = dense_channels
        self.lstm = self.build_recurrence(
            size,
            sizes,
            num_layers=num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            activation=activation,
            recurrent_activation=recurrent_activation,
        )
        self.bidirectional = bidirectional
        self.attention = nn.Linear(self.run_channels, 1) if temporal_pool == 'attention' else None
        if self.tbptt_len is not None:
            self.check_causal()

    @classmethod
    def reads_maps(cls, cfg: Mapping[str, Any]) -> bool:
        """See :meth:`RecurrentNeck.reads_maps`."""
        return cfg.get('spatial_pool', 'avg') != 'avg'

    def build_recurrence(
        self, size: int, hidden: int | tuple[int, ...], *, dropout: float, **options: Any
    ) -> nn.Module:
        """The layer over vectors of ``size``; ``options`` are those of :class:`ConvLSTM`."""
        activations = {name: options[name] for name in PYTORCH}
        if isinstance(hidden, int) and activations == PYTORCH:
            sizes = dict(num_layers=options['num_layers'], bidirectional=options['bidirectional'])
            return nn.LSTM(size, hidden, batch_first=True, dropout=dropout, **sizes)
        if dropout:
            raise ValueError(
                f'expected dropout=0 with hidden_channels={hidden} and {activations}, got '
                f'{dropout}; fix: dropout=0, or one size and the default activations'
            )
        return ConvLSTM(size, hidden, 1, **options)

    def init_recurrence(self) -> None:
        """Initialize :attr:`lstm`."""
        if isinstance(self.lstm, CONVOLUTIONAL):  # which initialize themselves
            self.lstm.reset_parameters()
            return
        for name, parameter in self.lstm.named_parameters():
            if name.startswith('weight_ih'):
                # Keras's fans are those of the four gates together.
                nn.init.xavier_uniform_(parameter)
            elif name.startswith('weight_hh'):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.zeros_(parameter)
                if name.startswith('bias_ih'):
                    forget = self.lstm.hidden_size
                    parameter.data[forget : 2 * forget] = 1.0

    def init_weights(self) -> None:
        """Initialize as Keras does, then as ``init_cfg`` says."""
        for module in (self.dense, self.attention):
            if module is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        self.init_recurrence()
        super().init_weights()

    def initial(self, batch: int, size: Size) -> State:
        """Zeros: ``h`` and ``c`` [N, layers, hidden], or [N, 1, sum(hidden)]."""
        if isinstance(self.lstm, CONVOLUTIONAL):
            blocks, batch, channels = self.lstm.states.shape(batch)
            shape = (batch, blocks, channels)
        else:
            shape = (batch, self.lstm.num_layers, self.lstm.hidden_size)
        return dict(h=torch.zeros(shape), c=torch.zeros(shape))

    def run(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """See :meth:`RecurrentNeck.run`; 'flatten' refuses maps of another ``spatial_size``."""
        output, state = self.recur(self._frame_vectors(x), state, lengths)
        # [N, T, D*hidden] -> [N, T, D*hidden, 1, 1]
        return output[..., None, None], state

    def recur(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run :attr:`lstm` on x [N, T, size]; the outputs and the state after the last."""
        if isinstance(self.lstm, ConvLSTM):
            if state is not None:
                state = [state[name].transpose(0, 1)[..., None, None] for name in 'hc']
            output, finals = self.lstm(x[..., None, None], state, lengths)
            state = {k: s[..., 0, 0].transpose(0, 1) for k, s in zip('hc', finals)}
            return output[..., 0, 0], state
        if lengths is not None:
            packed, (h, c) = self.lstm(
                pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            )
            output, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        elif state is None:
            output, (h, c) = self.lstm(x)
        else:
            # [N, L, hidden] -> [L, N, hidden]
            h, c = (state[name].transpose(0, 1).contiguous() for name in 'hc')
            if x.shape[1] == 1 and not must_be_plain():
                output, h, c = self._one_step(x, h, c)
            else:
                output, (h, c) = self.lstm(x, (h, c))
        return output, dict(h=h.transpose(0, 1), c=c.transpose(0, 1))

    def score(self, output: Tensor) -> Tensor | None:
        """See :meth:`RecurrentNeck.score`."""
        return None if self.attention is None else self.attention(output[..., 0, 0])[..., 0]

    def _one_step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """nn.LSTM on one step of [N, 1, size].

        On a CPU nn.LSTM rearranges its weights at each call, which takes longer than the step.
        """
        x, states = x[:, 0], []
        for layer, state in enumerate(zip(h, c)):
            states.append(torch.lstm_cell(x, state, *self.lstm.all_weights[layer]))
            x = states[-1][0]
            if self.training and layer + 1 < len(h):
                x = F.dropout(x, self.lstm.dropout)
        h, c = (torch.stack(s) for s in zip(*states))
        return x[:, None], h, c

    def _frame_vectors(self, x: Tensor) -> Tensor:
        """[N, T, C, h, w] to [N, T, size]."""
        if self.spatial_pool == 'avg':
            x = x[..., 0, 0]
        elif self.spatial_pool == 'max':
            x = x.amax(dim=(3, 4))
        elif tuple(x.shape[3:]) != self.spatial_size:
            raise ValueError(
                f'LSTMPoolingNeck: expected a map of spatial_size={self.spatial_size}, got '
                f'{tuple(x.shape[3:])}; fix: set spatial_size, change the input size, or pool '
                "with spatial_pool='avg'"
            )
        else:
            x = x.flatten(2)
        return x if self.dense is None else self.dense(x).relu()
