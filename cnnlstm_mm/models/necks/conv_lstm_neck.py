"""ConvLSTM over the feature maps of a clip."""
from typing import Any, Optional, Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cnnlstm_mm.layers import ConvLSTM
from mmaction.registry import MODELS
from mmaction.utils import OptSampleList

from .checks import select_feature

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
        in_index (int): Which stage of a multi-stage backbone to take.
            Defaults to -1.
        init_cfg (dict, optional): Initialization config. Defaults to None.
        **kwargs: Further arguments of :class:`cnnlstm_mm.layers.ConvLSTM`:
            ``kernel_size``, ``padding``, ``stride``, ``dilation``,
            ``num_layers``, ``recurrent_activation`` and so on.

    Raises:
        ValueError: If ``return_mode`` is unknown.

    Source: Shi et al., "Convolutional LSTM Network", NIPS 2015; the options
    follow Keras's ConvLSTM2D.
    """

    def __init__(self,
                 in_channels: int,
                 hidden_channels: int,
                 return_mode: str = 'last',
                 reduce_channels: Optional[int] = None,
                 in_index: int = -1,
                 init_cfg: Optional[dict] = None,
                 **kwargs: Any) -> None:
        super().__init__(init_cfg=init_cfg)
        if return_mode not in RETURN_MODES:
            raise ValueError(f'return_mode={return_mode!r} is unknown: use one '
                             f'of {RETURN_MODES}.')
        self.in_channels = in_channels
        self.return_mode = return_mode
        self.in_index = in_index
        self.reduce = None
        if reduce_channels is not None:
            self.reduce = nn.Conv2d(in_channels, reduce_channels, 1)
        self.conv_lstm = ConvLSTM(reduce_channels or in_channels,
                                  hidden_channels, **kwargs)

    def init_weights(self) -> None:
        """Initialize the reduction as Keras's Dense, then as ``init_cfg``
        says."""
        if self.reduce is not None:
            nn.init.xavier_uniform_(self.reduce.weight)
            nn.init.zeros_(self.reduce.bias)
        super().init_weights()

    def multiply_adds(self, size: Tuple[int, int]) -> int:
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
        self,
        x: Union[Tensor, Tuple[Tensor, ...]],
        data_samples: OptSampleList = None,
    ) -> Tuple[Tensor, dict]:
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
        x, lengths = select_feature(x, self.in_index, self.in_channels,
                                    type(self).__name__)
        # [N, C, T, h, w] -> [N, T, C, h, w]
        x = x.transpose(1, 2)
        if self.reduce is not None:
            x = self.reduce(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        output, (h, _) = self.conv_lstm(x, lengths=lengths)
        if self.return_mode == 'sequence':
            if lengths is not None:
                raise ValueError(
                    'ConvLSTMNeck got sequences of different lengths with '
                    "return_mode='sequence', which would hand padding to the "
                    "head: set return_mode to 'last' or 'mean'.")
            # [N, T, C', h', w'] -> [N, C', T, h', w']
            return output.transpose(1, 2), {}
        if self.return_mode == 'mean':
            # The output is 0 where a sequence has ended.
            steps = output.shape[1] if lengths is None else lengths.to(
                output)[:, None, None, None]
            feature = output.sum(dim=1) / steps
        else:
            directions = 2 if self.conv_lstm.bidirectional else 1
            # [L*D, N, hidden, h', w'] -> [N, D*hidden, h', w']
            feature = torch.cat(tuple(h[-directions:]), dim=1)
        return feature.unsqueeze(2), {}
