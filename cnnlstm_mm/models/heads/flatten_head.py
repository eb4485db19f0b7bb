"""The heads of Keras models: Flatten or pooling, Dense, ReLU, dropout, Dense."""

import math
from typing import Any

from torch import Tensor, nn

from cnnlstm_mm.layers.geometry import pair
from cnnlstm_mm.options import check_choice, check_fraction, check_int
from mmaction.models.heads import BaseHead
from mmaction.registry import MODELS
from mmaction.utils import ConfigType


@MODELS.register_module()
class FlattenHead(BaseHead):
    """Flatten a feature map and classify it with two dense layers.

    Unlike I3DHead it keeps positions within the frame, at the price of a fixed input size, unless
    ``spatial_pool`` is set.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the input feature.
        spatial_size: (h, w) of the input feature; None with ``spatial_pool``.
        num_steps: Time steps T of the input feature: 1 for a neck that returns the last step or
            a mean.
        hidden_channels: Size of the hidden dense layer. None: no such layer.
        dropout_ratio: Dropout before the last layer.
        spatial_pool: 'avg' or 'max' over the frame first; None keeps positions.
        loss_cls: Config of the loss.
        **kwargs: Arguments of MMAction2's BaseHead, such as ``average_clips``,
            ``label_smooth_eps`` and ``topk``.

    Raises:
        ValueError: For an option out of range, or without one of ``spatial_size`` and
            ``spatial_pool``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        spatial_size: int | tuple[int, int] | None = None,
        num_steps: int = 1,
        hidden_channels: int | None = 256,
        dropout_ratio: float = 0.5,
        spatial_pool: str | None = None,
        loss_cls: ConfigType = dict(type='CrossEntropyLoss'),
        **kwargs: Any,
    ) -> None:
        check_int(num_classes=num_classes, in_channels=in_channels, num_steps=num_steps)
        check_int(optional=True, hidden_channels=hidden_channels)
        check_choice('spatial_pool', spatial_pool, None, 'avg', 'max')
        check_fraction(dropout_ratio=dropout_ratio)
        if spatial_pool and spatial_size is not None:
            raise ValueError(
                f'FlattenHead: expected spatial_size or spatial_pool, got {spatial_size!r} and '
                f'{spatial_pool!r}; fix: spatial_size=None'
            )
        size = (1, 1) if spatial_pool else pair(spatial_size, 'spatial_size')
        super().__init__(num_classes, in_channels, loss_cls, **kwargs)
        self.input_size = (in_channels, num_steps, *size)
        self.spatial_pool = spatial_pool
        width = math.prod(self.input_size)
        self.fc_hidden = None
        if hidden_channels is not None:
            self.fc_hidden = nn.Linear(width, hidden_channels)
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(hidden_channels or width, num_classes)

    def init_weights(self) -> None:
        """Initialize as Keras's Dense, then as ``init_cfg`` says."""
        for layer in filter(None, (self.fc_hidden, self.fc_cls)):
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
        if self.spatial_pool:
            pool = x.mean if self.spatial_pool == 'avg' else x.amax
            x = pool(dim=(3, 4), keepdim=True)
        if tuple(x.shape[1:]) != self.input_size:
            raise ValueError(
                'FlattenHead: expected features [N, C, T, h, w] = '
                f'[N, {", ".join(map(str, self.input_size))}], got {tuple(x.shape)}; fix: set '
                'in_channels, num_steps and spatial_size to these, feed the frame size that the '
                'config was made for, or use I3DHead, which takes any size'
            )
        x = x.flatten(1)  # [N, C*T*h*w]
        if self.fc_hidden is not None:
            x = self.fc_hidden(x).relu()
        return self.fc_cls(self.dropout(x))
