"""Image models of timm as backbones."""

from typing import Any

from mmengine.model import BaseModule, initialize
from torch import Tensor

from .torchvision_stand_in import without_torchvision

PREFIX = 'timm.'  # as in MMAction2's recognizers


class TimmBackbone(BaseModule):
    """A model of timm without its classifier; ``TimeDistributed`` makes it of ``timm.NAME``.

    Args:
        name: Its name in timm, such as ``'mobilenetv3_small_100'``.
        init_cfg: Initialization; pretrained checkpoints have timm's keys.
        **options: Of ``timm.create_model``: with ``features_only=True`` the maps of all stages, or
            of those in ``out_indices``; otherwise the last map, before it is pooled.

    Raises:
        ModuleNotFoundError: If timm is not installed.
        ValueError: If timm has no model of this name; with names that are close.
    """

    def __init__(self, name: str, init_cfg: dict | None = None, **options: Any) -> None:
        super().__init__(init_cfg=init_cfg)
        with without_torchvision():
            import timm
        if not timm.is_model(name):
            close = timm.list_models(f'*{name.rpartition("_")[0] or name}*')[:5]
            raise ValueError(
                f'expected a model of timm {timm.__version__}, got {name!r}; fix: '
                + (f'one of {", ".join(close)}' if close else 'see timm.list_models()')
            )
        if not options.get('features_only'):
            options = dict(num_classes=0, global_pool='') | options
        self.model = timm.create_model(name, **options)
        self.channels_at_end = getattr(self.model, 'output_fmt', 'NCHW') == 'NHWC'

    def init_weights(self) -> None:
        """Load ``init_cfg``; without one the weights stay as timm has made or loaded them."""
        if self.init_cfg is not None:
            initialize(self.model, self.init_cfg)
        self._is_init = True

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Features [B, C, h, w] of images [B, 3, H, W], or a tuple of these."""
        out = self.model(x)
        if isinstance(out, (list, tuple)):
            return tuple(map(self._ordered, out))
        return self._ordered(out)

    def _ordered(self, feature: Tensor) -> Tensor:
        if self.channels_at_end and feature.dim() == 4:
            return feature.permute(0, 3, 1, 2)
        return feature
