"""The seed's head: Flatten, Dense, ReLU, dropout, Dense."""

import math
from typing import Any

from torch import Tensor, nn

from cnnlstm_mm.layers.geometry import pair
from cnnlstm_mm.options import check_fraction, check_int
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.utils import ConfigType


@MODELS.register_module()
class FlattenHead(BaseHead):
    """Flatten a feature map and classify it with two dense layers.

    Unlike I3DHead it keeps positions within the frame, at the price of a fixed input size.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the input feature.
        spatial_size: (h, w) of the input feature.
        num_steps: Time steps T of the input feature: 1 for a neck that returns the last step or
            a mean.
        hidden_channels: Size of the hidden dense layer; 256 is the seed's.
        dropout_ratio: Dropout before the last layer.
        loss_cls: Config of the loss.
        **kwargs: Arguments of MMAction2's BaseHead, such as ``average_clips``,
            ``label_smooth_eps`` and ``topk``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        spatial_size: int | tuple[int, int],
        num_steps: int = 1,
        hidden_channels: int = 256,
        dropout_ratio: float = 0.5,
        loss_cls: ConfigType = dict(type='CrossEntropyLoss'),
        **kwargs: Any,
    ) -> None:
        check_int(
            num_classes=num_classes,
            in_channels=in_channels,
            num_steps=num_steps,
            hidden_channels=hidden_channels,
        )
        check_fraction(dropout_ratio=dropout_ratio)
        size = pair(spatial_size, 'spatial_size')
        super().__init__(num_classes, in_channels, loss_cls, **kwargs)
        self.input_size = (in_channels, num_steps, *size)
        self.fc_hidden = nn.Linear(math.prod(self.input_size), hidden_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(hidden_channels, num_classes)

    def init_weights(self) -> None:
        """Initialize as Keras's Dense, then as ``init_cfg`` says."""
        for layer in (self.fc_hidden, self.fc_cls):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        super().init_weights()

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Scores before the softmax, [N, num_classes].

        Args:
            x: Features [N, C, T, h, w].
            **kwargs: Unused; recognizers pass ``num_segs``.

        Raises:
            ValueError: If ``x`` has another size than the head was built for.
        """
        if tuple(x.shape[1:]) != self.input_size:
            raise ValueError(
                'FlattenHead: expected features [N, C, T, h, w] = '
                f'[N, {", ".join(map(str, self.input_size))}], got {tuple(x.shape)}; fix: set '
                'in_channels, num_steps and spatial_size to these, feed the frame size that the '
                'config was made for, or use I3DHead, which takes any size'
            )
        # [N, C, T, h, w] -> [N, C*T*h*w] -> [N, hidden_channels]
        x = self.fc_hidden(x.flatten(1)).relu()
        return self.fc_cls(self.dropout(x))
