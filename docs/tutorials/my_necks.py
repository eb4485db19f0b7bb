"""A recurrent neck of one's own."""

import torch
from torch import nn

from cnnlstm_mm.models.necks import RecurrentNeck
from mmaction.registry import MODELS


@MODELS.register_module()
class TutorialNeck(RecurrentNeck):
    """A GRU over the mean of each frame."""

    keeps_space = False  # one vector a frame

    def __init__(self, in_channels, hidden_channels, **kwargs):
        super().__init__(in_channels, hidden_channels, **kwargs)
        self.gru = nn.GRU(in_channels, hidden_channels, batch_first=True)

    def initial(self, batch, size):
        """The state before the first step."""
        return dict(h=torch.zeros(batch, self.gru.hidden_size))

    def run(self, x, state, lengths):
        """From [N, T, C, 1, 1] and a state to [N, T, hidden, 1, 1] and the next state."""
        h = None if state is None else state['h'][None].contiguous()
        output, h = self.gru(x[..., 0, 0], h)
        return output[..., None, None], dict(h=h[0])
