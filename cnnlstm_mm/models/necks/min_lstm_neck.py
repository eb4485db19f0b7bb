"""minLSTM over one vector per frame, pooled over time."""

from typing import Any

from torch import Tensor, nn

from cnnlstm_mm.layers import MinConvLSTM
from cnnlstm_mm.models.stepping import Size, State
from mmaction.registry import MODELS

from .lstm_pooling_neck import PYTORCH, LSTMPoolingNeck


@MODELS.register_module()
class MinLSTMNeck(LSTMPoolingNeck):
    """One vector per frame, a minLSTM over time, then pooling over time.

    Arguments and errors are those of :class:`LSTMPoolingNeck`, without ``activation`` and
    ``recurrent_activation``; ``dropout`` is that of each layer's input, by one mask for all frames.
    No gate reads the hidden state, so that all frames are one matrix product.

    Source: Feng et al., "Were RNNs All We Needed?", 2024.
    """

    display_name = 'MinLSTM'

    def build_recurrence(
        self, size: int, hidden: int | tuple[int, ...], *, dropout: float, **options: Any
    ) -> nn.Module:
        """A convolution of one pixel is the linear layer."""
        for name, default in PYTORCH.items():
            if options.pop(name) != default:
                raise ValueError(f'MinLSTMNeck: expected no {name}, got one; fix: leave it out')
        return MinConvLSTM(size, hidden, 1, dropout=dropout, **options)

    def initial(self, batch: int, size: Size) -> State:
        """Zeros: ``h`` as that of :class:`LSTMPoolingNeck`."""
        return dict(h=super().initial(batch, size)['h'])

    def recur(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run the layer on x [N, T, size]; the outputs and the state after the last."""
        h = None if state is None else state['h'].transpose(0, 1)[..., None, None]
        output, h = self.lstm(x[..., None, None], h, lengths)
        return output[..., 0, 0], dict(h=h[..., 0, 0].transpose(0, 1))
