"""Necks whose input channels are those of the backbone that the recognizer builds."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from mmaction.models.recognizers.base import BaseRecognizer

SIDES = (64, 224)  # of trial frames: the cheapest first; some backbones take one size only
STEPS = (16, 8, 4, 32)


class DeferredNeck(nn.Module):
    """Stands for a neck until a recognizer has built its backbone.

    Args:
        kind: The neck's class.
        args: Its arguments after ``in_channels``.
        kwargs: Its keyword arguments.
    """

    def __init__(self, kind: type, args: tuple, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.kind, self.args = kind, args
        self.kwargs = {key: value for key, value in kwargs.items() if key != 'in_channels'}

    def build(self, backbone: nn.Module) -> nn.Module:
        """Build the neck for the feature of ``backbone``.

        Raises:
            ValueError: If the width of the feature cannot be found.
        """
        in_index = self.kwargs.get('in_index', -1)
        channels = feature_channels(backbone, in_index)
        if channels is None:
            raise ValueError(
                f'{self.kind.__name__}(in_channels=None): expected a backbone that runs on a trial '
                f'clip, got {type(backbone).__name__}, whose feature width stays unknown; fix: '
                'set in_channels to the channels of its feature'
            )
        return self.kind(channels, *self.args, **self.kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Raise ``ValueError``: there are no weights yet."""
        raise ValueError(
            f'{self.kind.__name__}: expected in_channels, got None outside of a recognizer; fix: '
            'set in_channels to the channels of the feature'
        )


@torch.no_grad()
def feature_channels(backbone: nn.Module, in_index: int = -1) -> int | None:
    """Channels of a backbone's feature, found by running it on a black clip.

    Args:
        backbone: A frame-wise backbone in TimeDistributed, or one of clips. Modes and batch-norm
            statistics are left as they are.
        in_index: Stage of a tuple.

    Returns:
        The channels C of [N, C, T, h, w], or None if no trial clip runs.
    """
    parameter = next(backbone.parameters(), None)
    if parameter is None:  # it hands stored features on
        return None
    modes = {module: module.training for module in backbone.modules()}
    for module in modes:
        module.training = False
    planes = next((m.in_channels for m in modes if isinstance(m, (nn.Conv2d, nn.Conv3d))), 3)
    if getattr(backbone, 'motion', None) is not None:
        planes = backbone.in_channels
    segments = [n for m in modes if isinstance(n := getattr(m, 'num_segments', None), int)]
    try:
        for steps in segments[:1] or STEPS:
            for side in SIDES:
                clip = torch.zeros(1, planes, steps, side, side, device=parameter.device)
                try:
                    feature = backbone(clip)
                except (RuntimeError, ValueError, AssertionError, IndexError):
                    continue
                if isinstance(feature, tuple) and -len(feature) <= in_index < len(feature):
                    feature = feature[in_index]
                if isinstance(feature, Tensor) and feature.dim() == 5:
                    return feature.shape[1]
    finally:
        for module, mode in modes.items():
            module.training = mode
    return None


def build_deferred_necks() -> None:
    """Let recognizers build a :class:`DeferredNeck` once their backbone exists."""
    original = BaseRecognizer.__init__

    @functools.wraps(original)
    def init(self: BaseRecognizer, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if isinstance(getattr(self, 'neck', None), DeferredNeck):
            self.neck = self.neck.build(self.backbone)

    if not hasattr(original, '__wrapped__'):
        BaseRecognizer.__init__ = init


build_deferred_necks()
