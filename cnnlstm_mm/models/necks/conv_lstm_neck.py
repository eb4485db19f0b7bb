"""ConvLSTM over the feature maps of a clip."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.models.feature_input import select_feature, select_steps
from cnnlstm_mm.models.stepping import State, check_tbptt, run_truncated
from cnnlstm_mm.options import MOST, check_whole
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList

from .running_pool import RunningPool

RETURN_MODES = ('last', 'mean', 'sequence')


@MODELS.register_module()
class ConvLSTMNeck(BaseModule):
    """A ConvLSTM between a backbone and a 5-D classification head.

    Args:
        in_channels (int): Channels C of the backbone's feature.
        hidden_channels (int): Channels of the hidden state.
        return_mode (str): 'last' returns the final hidden state, 'mean' the
            mean of the outputs over time, 'sequence' all of them. Defaults
            to 'last'.
        reduce_channels (int, optional): A learnt 1x1 convolution brings the
            feature to so many channels before the ConvLSTM, most of whose
            work is in proportion to them: ``in_channels * reduce_channels``
            more multiply-adds a pixel. Defaults to None, no reduction.
        tbptt_len (int, optional): In training, a sample is a row of clips of
            so many frames: gradients stop at their borders, and
            ``carry_prob`` decides what a clip starts from (truncated
            backpropagation through time). Needs 'sequence'. Defaults to
            None, the whole sample.
        carry_prob (float): Probability, for each sample and border, that the
            next clip goes on with the state; it starts from zero otherwise.
            1 trains for endless streams, less for streams that also begin
            and are reset. Defaults to 1.
        in_index (int): Which stage of a multi-stage backbone to take.
            Defaults to -1.
        init_cfg (dict, optional): Initialization config. Defaults to None.
        **kwargs: Further arguments of :class:`cnnlstm_mm.layers.ConvLSTM`:
            ``kernel_size``, ``padding``, ``stride``, ``dilation``,
            ``num_layers``, ``recurrent_activation`` and so on.

    Raises:
        ValueError: If ``return_mode`` is unknown, or ``tbptt_len`` is used
            without 'sequence' or with a layer that runs backwards.

    Source: Shi et al., "Convolutional LSTM Network", NIPS 2015; the options
    follow Keras's ConvLSTM2D.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        return_mode: str = 'last',
        reduce_channels: int | None = None,
        tbptt_len: int | None = None,
        carry_prob: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_whole(in_channels=in_channels, hidden_channels=hidden_channels)
        check_whole(optional=True, reduce_channels=reduce_channels)
        check_whole(-MOST, in_index=in_index)
        if return_mode not in RETURN_MODES:
            raise ValueError(f'return_mode={return_mode!r} is unknown: use one of {RETURN_MODES}.')
        check_tbptt(
            type(self).__name__,
            tbptt_len,
            carry_prob,
            return_mode == 'sequence',
            "return_mode='sequence'",
        )
        self.in_channels = in_channels
        self.return_mode = return_mode
        self.tbptt_len = tbptt_len
        self.carry_prob = carry_prob
        self.in_index = in_index
        self.reduce = None
        if reduce_channels is not None:
            self.reduce = nn.Conv2d(in_channels, reduce_channels, 1)
        self.conv_lstm = ConvLSTM(reduce_channels or in_channels, hidden_channels, **kwargs)
        directions = 2 if self.conv_lstm.bidirectional else 1
        self.out_channels = directions * hidden_channels
        if tbptt_len is not None:
            self.check_causal()

    def init_weights(self) -> None:
        """Initialize the reduction as Keras's Dense, then as ``init_cfg``
        says.
        """
        if self.reduce is not None:
            nn.init.xavier_uniform_(self.reduce.weight)
            nn.init.zeros_(self.reduce.bias)
        super().init_weights()

    def multiply_adds(self, size: tuple[int, int]) -> int:
        """Multiply-adds in the convolutions of one step of one sample.

        Args:
            size (tuple[int]): Height and width of the feature map.

        Returns:
            int: Those of the reduction and of the ConvLSTM.
        """
        count = self.conv_lstm.multiply_adds(size)
        if self.reduce is not None:
            count += self.reduce.weight.numel() * size[0] * size[1]
        return count

    def forward(
        self, x: Tensor | tuple[Tensor, ...], data_samples: OptSampleList = None
    ) -> tuple[Tensor, dict]:
        """Run the recurrence over time; every sample starts from zero state.

        Args:
            x (Tensor, tuple[Tensor] or PaddedFeature): Feature maps,
                [N, C, T, h, w]. Steps that pad a sequence change nothing.
            data_samples (list, optional): Not used. Defaults to None.

        Returns:
            tuple[Tensor, dict]: [N, D*hidden, 1, h', w'] for 'last' and
            'mean', [N, D*hidden, T, h', w'] for 'sequence', with D = 2 for a
            bidirectional layer; and no auxiliary losses.

        Raises:
            TypeError, ValueError: See :func:`select_feature`; a frame smaller
                than a 'valid' kernel, and 'sequence' on sequences of
                different lengths, raise ValueError too.
        """
        x, lengths = select_feature(x, self.in_index, self.in_channels, type(self).__name__)
        if self.training and self.tbptt_len and lengths is None:
            return run_truncated(self, x, self.tbptt_len, self.carry_prob), {}
        output, (h, _) = self.conv_lstm(self._reduced(x), lengths=lengths)
        if self.return_mode == 'sequence':
            if lengths is not None:
                raise ValueError(
                    'ConvLSTMNeck got sequences of different lengths with '
                    "return_mode='sequence', which would hand padding to the "
                    "head: set return_mode to 'last' or 'mean'."
                )
            # [N, T, C', h', w'] -> [N, C', T, h', w']
            return output.transpose(1, 2), {}
        if self.return_mode == 'mean':
            # The output is 0 where a sequence has ended.
            steps = output.shape[1] if lengths is None else lengths.to(output)[:, None, None, None]
            feature = output.sum(dim=1) / steps
        else:
            directions = 2 if self.conv_lstm.bidirectional else 1
            # [L*D, N, hidden, h', w'] -> [N, D*hidden, h', w']
            feature = torch.cat(tuple(h[-directions:]), dim=1)
        return feature.unsqueeze(2), {}

    def init_state(
        self,
        batch: int,
        size: tuple[int, int],
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> State:
        """Make the state before the first step.

        Args:
            batch (int): N, how many samples or streams.
            size (tuple[int]): Height and width of the backbone's feature.
            dtype (torch.dtype, optional): Defaults to torch's default.
            device (torch.device, optional): Defaults to the CPU.

        Returns:
            dict[str, Tensor]: Zeros: ``h`` and ``c`` [N, layers, hidden, h',
            w'], ``count`` [N], and for 'mean' ``pooled`` [N, hidden, h', w'].

        Raises:
            ValueError: If the layer runs backwards in time.
        """
        self.check_causal()
        layer = self.conv_lstm
        size = layer.output_size(tuple(size))
        shape = (layer.hidden_channels, *size)
        h, c = (
            torch.zeros(batch, layer.num_layers, *shape, dtype=dtype, device=device)
            for _ in range(2)
        )
        return dict(h=h, c=c, **self._pool().init_state(batch, shape, dtype, device))

    def forward_steps(self, x: Tensor | tuple[Tensor, ...], state: State) -> tuple[Tensor, State]:
        """Go on from a state; a clip, its parts and its steps give the same.

        Args:
            x (Tensor or tuple[Tensor]): The next T steps, [N, C, T, h, w].
            state (dict[str, Tensor]): The state before them, of
                :meth:`init_state` or an earlier call.

        Returns:
            tuple[Tensor, dict]: [N, hidden, T, h', w'], at each step what
            :meth:`forward` would return for all steps up to it ('sequence':
            for this step); and the state after the last one.

        Raises:
            TypeError, ValueError: See :func:`select_feature`; a state of
                another shape raises ValueError too.
        """
        x = select_steps(x, self.in_index, self.in_channels, type(self).__name__)
        # [N, L, hidden, h', w'] -> [L, N, hidden, h', w']
        h, c = state['h'].transpose(0, 1), state['c'].transpose(0, 1)
        output, (h, c) = self.conv_lstm(self._reduced(x), (h, c))
        feature, pooled = self._pool()(output, state)
        state = dict(h=h.transpose(0, 1), c=c.transpose(0, 1), **pooled)
        # [N, T, hidden, h', w'] -> [N, hidden, T, h', w']
        return feature.transpose(1, 2), state

    def _reduced(self, x: Tensor) -> Tensor:
        # [N, C, T, h, w] -> [N, T, C, h, w]
        x = x.transpose(1, 2)
        if self.reduce is not None:
            x = self.reduce(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return x

    def _pool(self) -> RunningPool:
        return RunningPool('mean' if self.return_mode == 'mean' else 'last')

    @property
    def every_step(self) -> bool:
        """Whether :meth:`forward` returns all steps rather than one."""
        return self.return_mode == 'sequence'

    def check_causal(self) -> None:
        """Raise ``ValueError`` if a step needs later ones."""
        for option in ('bidirectional', 'go_backwards'):
            if getattr(self.conv_lstm, option):
                raise ValueError(
                    f'ConvLSTMNeck({option}=True) needs the end of the video '
                    'before its first step, so it cannot run step by step: '
                    f'set {option}=False and train again.'
                )
