"""LSTM over one vector a frame, pooled over time."""
from typing import Optional, Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmaction.registry import MODELS
from mmaction.utils import OptSampleList

from .checks import PaddedFeature, select_feature

SPATIAL_POOLS = ('avg', 'max', 'flatten')
TEMPORAL_POOLS = ('last', 'mean', 'max', 'attention')


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
        temporal_pool (str): 'last' final hidden state, 'mean', 'max', or
            'attention', a softmax over time of a learned score. Defaults to
            'last'.
        in_index (int): Which stage of a multi-stage backbone to take.
            Defaults to -1.
        init_cfg (dict, optional): Initialization config. Defaults to None.

    Raises:
        ValueError: If an option is unknown, or 'flatten' lacks its size.

    Source: Donahue et al., "Long-term Recurrent Convolutional Networks", CVPR
    2015; Ng et al., "Beyond Short Snippets", CVPR 2015. Weights start as in
    Keras: Glorot for the input, orthogonal for the recurrence, forget bias 1.
    """

    def __init__(self,
                 in_channels: int,
                 hidden_channels: int,
                 num_layers: int = 1,
                 bidirectional: bool = False,
                 dropout: float = 0.,
                 spatial_pool: str = 'avg',
                 spatial_size: Union[int, Tuple[int, int], None] = None,
                 dense_channels: Optional[int] = None,
                 temporal_pool: str = 'last',
                 in_index: int = -1,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if spatial_pool not in SPATIAL_POOLS:
            raise ValueError(f'spatial_pool={spatial_pool!r} is unknown: use '
                             f'one of {SPATIAL_POOLS}.')
        if temporal_pool not in TEMPORAL_POOLS:
            raise ValueError(f'temporal_pool={temporal_pool!r} is unknown: use '
                             f'one of {TEMPORAL_POOLS}.')
        if (spatial_pool == 'flatten') != (spatial_size is not None):
            raise ValueError('spatial_pool="flatten" and spatial_size=(h, w) '
                             f'go together, got {spatial_pool!r} and '
                             f'{spatial_size}.')
        self.in_channels = in_channels
        self.spatial_pool = spatial_pool
        self.spatial_size = None if spatial_size is None else _pair(spatial_size)
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
            size, hidden_channels, num_layers, batch_first=True,
            dropout=dropout, bidirectional=bidirectional)
        self.attention = None
        if temporal_pool == 'attention':
            directions = 2 if bidirectional else 1
            self.attention = nn.Linear(directions * hidden_channels, 1)

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
                    parameter.data[forget:2 * forget] = 1.
        super().init_weights()

    def forward(
        self,
        x: Union[Tensor, Tuple[Tensor, ...]],
        data_samples: OptSampleList = None,
    ) -> Tuple[Tensor, dict]:
        """Run the LSTM over time; every sample starts from zero state.

        Args:
            x (Tensor, tuple[Tensor] or PaddedFeature): Feature maps,
                [N, C, T, h, w]. Steps that pad a sequence change nothing.
            data_samples (list, optional): Not used. Defaults to None.

        Returns:
            tuple[Tensor, dict]: [N, D*hidden, 1, 1, 1], with D = 2 for a
            bidirectional LSTM; and no auxiliary losses.

        Raises:
            TypeError, ValueError: See :func:`select_feature`; 'flatten' on
                another map size than ``spatial_size`` raises ValueError too.
        """
        x, lengths = select_feature(x, self.in_index, self.in_channels,
                                    type(self).__name__)
        there = None
        if lengths is not None:
            there = PaddedFeature(x, lengths).there()[..., None]  # [N, T, 1]
        frames = self._frame_vectors(x)
        if self.dense is not None:
            frames = self.dense(frames).relu()
        # [N, T, size] -> [N, T, D*hidden]
        if lengths is None:
            output, (h, _) = self.lstm(frames)
        else:
            output, (h, _) = self.lstm(
                pack_padded_sequence(
                    frames, lengths.cpu(), batch_first=True,
                    enforce_sorted=False))
            output, _ = pad_packed_sequence(
                output, batch_first=True, total_length=frames.shape[1])
        if self.temporal_pool == 'last':
            directions = 2 if self.lstm.bidirectional else 1
            # [L*D, N, hidden] -> [N, D*hidden]
            feature = torch.cat(tuple(h[-directions:]), dim=1)
        elif self.temporal_pool == 'mean':
            # The output is 0 where a sequence has ended.
            steps = output.shape[1] if lengths is None else lengths.to(
                output)[:, None]
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

    def _frame_vectors(self, x: Tensor) -> Tensor:
        if self.spatial_pool == 'avg':
            return x.mean(dim=(3, 4)).transpose(1, 2)  # [N, T, C]
        if self.spatial_pool == 'max':
            return x.amax(dim=(3, 4)).transpose(1, 2)  # [N, T, C]
        if tuple(x.shape[3:]) != self.spatial_size:
            raise ValueError(
                f'LSTMPoolingNeck was built with spatial_size='
                f'{self.spatial_size}, but the feature map is '
                f'{tuple(x.shape[3:])}: set spatial_size, change the input '
                "size, or pool with spatial_pool='avg'.")
        return x.transpose(1, 2).flatten(2)  # [N, T, C*h*w]
