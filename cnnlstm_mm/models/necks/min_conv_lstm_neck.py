"""Convolutional minLSTM over the feature maps of a clip."""

from torch import Tensor

from cnnlstm_mm.layers import MinConvLSTM
from cnnlstm_mm.models.stepping import Size, State
from mmaction.registry import MODELS

from .conv_lstm_neck import ConvLSTMNeck


@MODELS.register_module()
class MinConvLSTMNeck(ConvLSTMNeck):
    """A :class:`~cnnlstm_mm.layers.MinConvLSTM` between a backbone and a 5-D head.

    The convolutions of all frames are one, and the recurrence costs one multiply-add a value and
    step: the neck for long clips. Arguments and errors are those of :class:`ConvLSTMNeck`;
    ``**kwargs`` go to the layer.

    Source: Feng et al., "Were RNNs All We Needed?", 2024.
    """

    layer_type = MinConvLSTM

    def initial(self, batch: int, size: Size) -> State:
        """Zeros: ``h`` as that of :class:`ConvLSTMNeck`."""
        return dict(h=super().initial(batch, size)['h'])

    def recur(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Run the layer on x [N, T, C, h, w]; the outputs and the state after the last."""
        h = None if state is None else state['h'].transpose(0, 1)
        output, h = self.conv_lstm(x, h, lengths)
        return output, dict(h=h.transpose(0, 1))
