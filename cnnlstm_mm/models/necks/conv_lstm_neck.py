"""ConvLSTM over the feature maps of a clip."""
from typing import Any, Optional, Tuple, Union

import torch
from mmengine.model import BaseModule
from torch import Tensor

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
        self.conv_lstm = ConvLSTM(in_channels, hidden_channels, **kwargs)

    def forward(
        self,
        x: Union[Tensor, Tuple[Tensor, ...]],
        data_samples: OptSampleList = None,
    ) -> Tuple[Tensor, dict]:
        """Run the recurrence over time; every sample starts from zero state.

        Args:
            x (Tensor or tuple[Tensor]): Feature maps, [N, C, T, h, w].
            data_samples (list, optional): Not used. Defaults to None.

        Returns:
            tuple[Tensor, dict]: [N, D*hidden, 1, h', w'] for 'last' and
            'mean', [N, D*hidden, T, h', w'] for 'sequence', with D = 2 for a
            bidirectional layer; and no auxiliary losses.

        Raises:
            TypeError, ValueError: See :func:`select_feature`; a frame smaller
                than a 'valid' kernel raises ValueError too.
        """
        x = select_feature(x, self.in_index, self.in_channels,
                           type(self).__name__)
        # [N, C, T, h, w] -> [N, T, C, h, w]
        output, (h, _) = self.conv_lstm(x.transpose(1, 2))
        if self.return_mode == 'sequence':
            # [N, T, C', h', w'] -> [N, C', T, h', w']
            return output.transpose(1, 2), {}
        if self.return_mode == 'mean':
            feature = output.mean(dim=1)
        else:
            directions = 2 if self.conv_lstm.bidirectional else 1
            # [L*D, N, hidden, h', w'] -> [N, D*hidden, h', w']
            feature = torch.cat(tuple(h[-directions:]), dim=1)
        return feature.unsqueeze(2), {}
