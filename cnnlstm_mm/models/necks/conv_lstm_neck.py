"""ConvLSTM over the feature maps of a clip."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.models.stepping import Size, State
from cnnlstm_mm.options import check_int, check_sizes
from mmaction.registry import MODELS

from .recurrent_neck import RecurrentNeck


@MODELS.register_module()
class ConvLSTMNeck(RecurrentNeck):
    """A ConvLSTM between a backbone and a 5-D classification head.

    Args:
        in_channels: Channels C of the backbone's feature; None takes the backbone's.
        hidden_channels: Channels of the hidden state; a list stacks one layer for each size.
        return_mode: What is returned: the 'last' hidden state, the 'mean' or 'max' of the outputs
            over time, or the whole 'sequence'.
        reduce_channels: A learnt 1x1 convolution brings the feature to this many channels before
            the ConvLSTM, most of whose work is proportional to them, for ``in_channels *
            reduce_channels`` more multiply-adds a pixel. None: no reduction.
        residual: See :class:`RecurrentNeck`.
        tbptt_len: See :class:`RecurrentNeck`.
        carry_prob: See :class:`RecurrentNeck`.
        in_index: See :class:`RecurrentNeck`.
        init_cfg: mmengine's initialization config.
        **kwargs: Further arguments of :class:`cnnlstm_mm.layers.ConvLSTM`: ``kernel_size``,
            ``padding``, ``stride``, ``dilation``, ``num_layers``, ``activation``,
            ``recurrent_activation`` ...

    Raises:
        ValueError: For an option out of range, or ``tbptt_len`` without 'sequence' or with a
            layer that runs backwards.

    Source: Shi et al., "Convolutional LSTM Network", NIPS 2015; the options follow Keras's
    ConvLSTM2D.
    """

    pool_option = 'return_mode'
    layer_type: type[nn.Module] = ConvLSTM

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int | Sequence[int],
        return_mode: str = 'last',
        reduce_channels: int | None = None,
        residual: bool = False,
        tbptt_len: int | None = None,
        carry_prob: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        sizes, _ = check_sizes(hidden_channels, kwargs.get('num_layers', 1))
        check_int(optional=True, reduce_channels=reduce_channels)
        directions = 2 if kwargs.get('bidirectional') else 1
        super().__init__(
            in_channels,
            directions * (sizes[-1] if isinstance(sizes, tuple) else sizes),
            return_mode,
            residual,
            tbptt_len,
            carry_prob,
            in_index,
            init_cfg,
        )
        self.reduce = None
        if reduce_channels is not None:
            self.reduce = nn.Conv2d(in_channels, reduce_channels, 1)
        self.conv_lstm = self.layer_type(reduce_channels or in_channels, hidden_channels, **kwargs)
        self.bidirectional = self.conv_lstm.bidirectional
        self.go_backwards = getattr(self.conv_lstm, 'go_backwards', False)
        if tbptt_len is not None:
            self.check_causal()

    def init_weights(self) -> None:
        """Initialize the reduction as Keras's Dense, then as ``init_cfg`` says."""
        if self.reduce is not None:
            nn.init.xavier_uniform_(self.reduce.weight)
            nn.init.zeros_(self.reduce.bias)
        super().init_weights()

    def output_size(self, size: Size) -> Size:
        """Height and width of the output for input maps of ``size``."""
        return self.conv_lstm.output_size(size)

    def initial(self, batch: int, size: Size) -> State:
        """Zeros: ``h`` and ``c`` [N, layers, hidden, h', w'], or [N, 1, sum(hidden), h', w']."""
        blocks, batch, channels = self.conv_lstm.states.shape(batch)
        shape = (batch, blocks, channels, *self.output_size(size))
        return dict(h=torch.zeros(shape), c=torch.zeros(shape))

    def run(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """See :meth:`RecurrentNeck.run`."""
        if self.reduce is not None:
            x = self.reduce(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.recur(x, state, lengths)

    def recur(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run the layer on x [N, T, C, h, w]; the outputs and the state after the last."""
        if state is not None:
            # [N, L, hidden, h', w'] -> [L, N, hidden, h', w']
            state = (state['h'].transpose(0, 1), state['c'].transpose(0, 1))
        output, (h, c) = self.conv_lstm(x, state, lengths)
        return output, dict(h=h.transpose(0, 1), c=c.transpose(0, 1))

    def last(self, output: Tensor, state: State, lengths: Tensor | None) -> Tensor:
        """Final hidden states [N, C', h', w'], without a gradient of all outputs."""
        final = self.conv_lstm.states.last(state['h'].transpose(0, 1))
        return final.transpose(0, 1).flatten(1, 2)  # [N, D*hidden, h', w']
