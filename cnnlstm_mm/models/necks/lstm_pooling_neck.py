"""LSTM over one vector a frame, pooled over time."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from cnnlstm_mm.layers.fused import must_be_plain
from cnnlstm_mm.layers.geometry import pair
from cnnlstm_mm.models.feature_input import PaddedFeature, select_feature, select_steps
from cnnlstm_mm.models.stepping import State, check_tbptt, run_truncated
from cnnlstm_mm.options import MOST, check_flag, check_share, check_whole
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList

from .running_pool import RunningPool

SPATIAL_POOLS = ('avg', 'max', 'flatten')
TEMPORAL_POOLS = ('last', 'mean', 'max', 'attention', 'none')


@MODELS.register_module()
class LSTMPoolingNeck(BaseModule):
    """One vector a frame, an LSTM over time, then pooling over time.

    Args:
        in_channels (int): Channels C of the backbone's feature.
        hidden_channels (int): Size of the hidden state.
        num_layers (int): Layers of the LSTM. Defaults to 1.
        bidirectional (bool): Run both ways over time. Defaults to False.
        dropout (float): Dropout between LSTM layers, as nn.LSTM's.
            Defaults to 0.
        spatial_pool (str): 'avg' or 'max' over the frame, or 'flatten', which
            keeps positions and needs ``spatial_size``. Defaults to 'avg'.
        spatial_size (int or tuple[int], optional): (h, w) of the feature map
            for 'flatten'. Defaults to None.
        dense_channels (int, optional): Size of a dense layer with ReLU on
            each frame's vector before the LSTM (the seed's classifier-side
            features). Defaults to None, no such layer.
        temporal_pool (str): 'last' final hidden state, 'mean', 'max',
            'attention', a softmax over time of a learned score, or 'none',
            which returns all steps. Defaults to 'last'.
        tbptt_len (int, optional): In training, a sample is a row of clips of
            so many frames: gradients stop at their borders, and
            ``carry_prob`` decides what a clip starts from. Needs
            ``temporal_pool='none'``. Defaults to None, the whole sample.
        carry_prob (float): Probability, for each sample and border, that the
            next clip goes on with the state; it starts from zero otherwise.
            Defaults to 1.
        in_index (int): Which stage of a multi-stage backbone to take.
            Defaults to -1.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Raises:
        ValueError: If an option is unknown, 'flatten' lacks its size, or
            ``tbptt_len`` is used with pooling over time or both ways.

    Source: Donahue et al., "Long-term Recurrent Convolutional Networks", CVPR
    2015; Ng et al., "Beyond Short Snippets", CVPR 2015. Weights start as in
    Keras: Glorot for the input, orthogonal for the recurrence, forget bias 1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        spatial_pool: str = 'avg',
        spatial_size: int | tuple[int, int] | None = None,
        dense_channels: int | None = None,
        temporal_pool: str = 'last',
        tbptt_len: int | None = None,
        carry_prob: float = 1.0,
        in_index: int = -1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_whole(in_channels=in_channels, hidden_channels=hidden_channels, num_layers=num_layers)
        check_whole(optional=True, dense_channels=dense_channels)
        check_whole(-MOST, in_index=in_index)
        check_flag(bidirectional=bidirectional)
        check_share(dropout=dropout)
        if spatial_pool not in SPATIAL_POOLS:
            raise ValueError(
                f'spatial_pool={spatial_pool!r} is unknown: use one of {SPATIAL_POOLS}.'
            )
        if temporal_pool not in TEMPORAL_POOLS:
            raise ValueError(
                f'temporal_pool={temporal_pool!r} is unknown: use one of {TEMPORAL_POOLS}.'
            )
        if (spatial_pool == 'flatten') != (spatial_size is not None):
            raise ValueError(
                'spatial_pool="flatten" and spatial_size=(h, w) '
                f'go together, got {spatial_pool!r} and '
                f'{spatial_size}.'
            )
        check_tbptt(
            type(self).__name__,
            tbptt_len,
            carry_prob,
            temporal_pool == 'none',
            "temporal_pool='none'",
        )
        self.in_channels = in_channels
        self.tbptt_len = tbptt_len
        self.carry_prob = carry_prob
        self.spatial_pool = spatial_pool
        self.spatial_size = None if spatial_size is None else pair(spatial_size, 'spatial_size')
        self.temporal_pool = temporal_pool
        self.in_index = in_index

        size = in_channels
        if self.spatial_size is not None:
            size *= self.spatial_size[0] * self.spatial_size[1]
        self.dense = None
        if dense_channels is not None:
            self.dense = nn.Linear(size, dense_channels)
            size = dense_channels
        self.lstm = nn.LSTM(
            size,
            hidden_channels,
            num_layers,
            batch_first=True,
            dropout=dropout,
            bidirectional=bidirectional,
        )
        self.attention = None
        self.out_channels = (2 if bidirectional else 1) * hidden_channels
        if temporal_pool == 'attention':
            self.attention = nn.Linear(self.out_channels, 1)
        if tbptt_len is not None:
            self.check_causal()

    def init_weights(self) -> None:
        """Initialize as Keras does, then as ``init_cfg`` says."""
        for module in (self.dense, self.attention):
            if module is not None:
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
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
        super().init_weights()

    def forward(
        self, x: Tensor | tuple[Tensor, ...], data_samples: OptSampleList = None
    ) -> tuple[Tensor, dict]:
        """Run the LSTM over time; every sample starts from zero state.

        Args:
            x (Tensor, tuple[Tensor] or PaddedFeature): Feature maps,
                [N, C, T, h, w]. Steps that pad a sequence change nothing.
            data_samples (list, optional): Not used. Defaults to None.

        Returns:
            tuple[Tensor, dict]: [N, D*hidden, 1, 1, 1], or [N, D*hidden, T,
            1, 1] for 'none', with D = 2 for a bidirectional LSTM; and no
            auxiliary losses.

        Raises:
            TypeError, ValueError: See :func:`select_feature`; 'flatten' on
                another map size than ``spatial_size``, and 'none' on
                sequences of different lengths, raise ValueError too.
        """
        x, lengths = select_feature(x, self.in_index, self.in_channels, type(self).__name__)
        there = None
        if lengths is not None:
            there = PaddedFeature(x, lengths).there()[..., None]  # [N, T, 1]
            if self.temporal_pool == 'none':
                raise ValueError(
                    'LSTMPoolingNeck got sequences of different lengths with '
                    "temporal_pool='none', which would hand padding to the "
                    'head: choose another temporal_pool.'
                )
        elif self.training and self.tbptt_len:
            return run_truncated(self, x, self.tbptt_len, self.carry_prob), {}
        frames = self._frame_vectors(x)
        # [N, T, size] -> [N, T, D*hidden]
        if lengths is None:
            output, (h, _) = self.lstm(frames)
        else:
            output, (h, _) = self.lstm(
                pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
            )
            output, _ = pad_packed_sequence(output, batch_first=True, total_length=frames.shape[1])
        if self.temporal_pool == 'none':
            # [N, T, D*hidden] -> [N, D*hidden, T, 1, 1]
            return output.transpose(1, 2)[..., None, None], {}
        if self.temporal_pool == 'last':
            directions = 2 if self.lstm.bidirectional else 1
            # [L*D, N, hidden] -> [N, D*hidden]
            feature = torch.cat(tuple(h[-directions:]), dim=1)
        elif self.temporal_pool == 'mean':
            # The output is 0 where a sequence has ended.
            steps = output.shape[1] if lengths is None else lengths.to(output)[:, None]
            feature = output.sum(dim=1) / steps
        elif self.temporal_pool == 'max':
            if there is not None:
                output = output.masked_fill(~there, -torch.inf)
            feature = output.amax(dim=1)
        else:
            score = self.attention(output)
            if there is not None:
                score = score.masked_fill(~there, -torch.inf)
            weights = score.softmax(dim=1)  # [N, T, 1]
            feature = (weights * output).sum(dim=1)
        return feature[:, :, None, None, None], {}

    def init_state(
        self,
        batch: int,
        size: tuple[int, int] | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> State:
        """Make the state before the first step.

        Args:
            batch (int): N, how many samples or streams.
            size (tuple[int], optional): Not used: the state has no place.
            dtype (torch.dtype, optional): Defaults to torch's default.
            device (torch.device, optional): Defaults to the CPU.

        Returns:
            dict[str, Tensor]: Zeros: ``h`` and ``c`` [N, layers, hidden], and
            what :class:`RunningPool` needs for ``temporal_pool``.

        Raises:
            ValueError: If the LSTM is bidirectional.
        """
        self.check_causal()
        hidden = self.lstm.hidden_size
        h, c = (
            torch.zeros(batch, self.lstm.num_layers, hidden, dtype=dtype, device=device)
            for _ in range(2)
        )
        pool = self._pool().init_state(batch, (hidden,), dtype, device)
        return dict(h=h, c=c, **pool)

    def forward_steps(self, x: Tensor | tuple[Tensor, ...], state: State) -> tuple[Tensor, State]:
        """Go on from a state; a clip, its parts and its steps give the same.

        Args:
            x (Tensor or tuple[Tensor]): The next T steps, [N, C, T, h, w].
            state (dict[str, Tensor]): The state before them, of
                :meth:`init_state` or an earlier call.

        Returns:
            tuple[Tensor, dict]: [N, hidden, T, 1, 1], at each step what
            :meth:`forward` would return for all steps up to it ('none': for
            this step); and the state after the last one.

        Raises:
            TypeError, ValueError: As :meth:`forward`.
        """
        x = select_steps(x, self.in_index, self.in_channels, type(self).__name__)
        # [N, L, hidden] -> [L, N, hidden]
        h, c = (state[name].transpose(0, 1).contiguous() for name in 'hc')
        # [N, T, size] -> [N, T, hidden]
        vectors = self._frame_vectors(x)
        if vectors.shape[1] == 1 and not must_be_plain():
            output, h, c = self._one_step(vectors, h, c)
        else:
            output, (h, c) = self.lstm(vectors, (h, c))
        score = None
        if self.attention is not None:
            score = self.attention(output)[..., 0]
        feature, pooled = self._pool()(output, state, score)
        state = dict(h=h.transpose(0, 1), c=c.transpose(0, 1), **pooled)
        return feature.transpose(1, 2)[..., None, None], state

    def _one_step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """nn.LSTM on one step of [N, 1, size]; on a CPU that rearranges its
        weights at each call, which takes longer than the step.
        """
        x, states = x[:, 0], []
        for layer, state in enumerate(zip(h, c)):
            weights = self.lstm.all_weights[layer]
            states.append(torch.lstm_cell(x, state, *weights))
            x = states[-1][0]
            if self.training and layer + 1 < len(h):
                x = F.dropout(x, self.lstm.dropout)
        h, c = (torch.stack(s) for s in zip(*states))
        return x[:, None], h, c

    def _pool(self) -> RunningPool:
        pool = self.temporal_pool
        return RunningPool('last' if pool == 'none' else pool)

    @property
    def every_step(self) -> bool:
        """Whether :meth:`forward` returns all steps rather than one."""
        return self.temporal_pool == 'none'

    def check_causal(self) -> None:
        """Raise ``ValueError`` if a step needs later ones."""
        if self.lstm.bidirectional:
            raise ValueError(
                'LSTMPoolingNeck(bidirectional=True) needs the end of the '
                'video before its first step, so it cannot run step by step: '
                'set bidirectional=False and train again.'
            )

    def _frame_vectors(self, x: Tensor) -> Tensor:
        vectors = self._pooled_maps(x)
        return vectors if self.dense is None else self.dense(vectors).relu()

    def _pooled_maps(self, x: Tensor) -> Tensor:
        if self.spatial_pool == 'avg':
            return x.mean(dim=(3, 4)).transpose(1, 2)  # [N, T, C]
        if self.spatial_pool == 'max':
            return x.amax(dim=(3, 4)).transpose(1, 2)  # [N, T, C]
        if tuple(x.shape[3:]) != self.spatial_size:
            raise ValueError(
                f'LSTMPoolingNeck was built with spatial_size='
                f'{self.spatial_size}, but the feature map is '
                f'{tuple(x.shape[3:])}: set spatial_size, change the input '
                "size, or pool with spatial_pool='avg'."
            )
        return x.transpose(1, 2).flatten(2)  # [N, T, C*h*w]
