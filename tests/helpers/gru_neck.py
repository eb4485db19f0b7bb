"""A recurrent neck as a user writes it, in a file of their own."""

import torch
from torch import nn

from cnnlstm_mm.models.necks import RecurrentNeck
from mmaction.registry import MODELS


@MODELS.register_module()
class GRUNeck(RecurrentNeck):
    """A GRU over the mean of each frame."""

    keeps_space = False

    def __init__(self, in_channels, hidden_channels, **kwargs):
        super().__init__(in_channels, hidden_channels, **kwargs)
        self.gru = nn.GRU(in_channels, hidden_channels, batch_first=True)

    def initial(self, batch, size):
        return dict(h=torch.zeros(batch, self.gru.hidden_size))

    def run(self, x, state, lengths):
        h = None if state is None else state['h'][None].contiguous()
        output, h = self.gru(x[..., 0, 0], h)  # [N, T, C] -> [N, T, hidden]
        return output[..., None, None], dict(h=h[0])
