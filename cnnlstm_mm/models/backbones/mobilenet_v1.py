"""MobileNet v1, equal to Keras's."""

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn as nn
import torch.utils.checkpoint as cp
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor

from cnnlstm_mm.options import check_bool, check_int, check_number
from mmaction.registry import MODELS

# Output channels and stride of the 13 separable blocks at width 1.
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNet v1 as ``keras.applications.MobileNet(include_top=False)``.

    It pads as Keras does, not as PyTorch models usually do: 'same' in the stem, and one zero row
    below and one zero column to the right of the input of a depthwise convolution of stride 2.
    With converted weights (``cnnlstm-mm convert keras``) it gives Keras's features, for any
    input size. Source: `MobileNets <https://arxiv.org/abs/1704.04861>`_.

    A stage is one separable block, ``layer1`` to ``layer13``, Keras's ``block_id``. The last
    stages of the strides 2, 4, 8, 16 and 32 have the indices 0, 2, 4, 10 and 12, and 64, 128, 256,
    512 and 1024 channels.

    Args:
        widen_factor: Keras's alpha: a layer of ``c`` channels gets ``int(c * widen_factor)``.
        out_indices: Stages that are returned, each from 0 to 12. Later stages are not built: they
            would have no gradient, which distributed training refuses.
        frozen_stages: The stem and this many stages get no gradient, and their batch norms keep
            their statistics. 0 freezes the stem alone, -1 nothing.
        norm_cfg: Norm layers; by default Keras's batch norm.
        act_cfg: Activations.
        norm_eval: All batch norms keep their statistics in training.
        with_cp: Recompute each stage in the backward pass: less memory, more time. Batch norms in
            training mode then count each batch twice in their statistics.
        init_cfg: Initialization; by default Kaiming-normal convolutions by their inputs, of which
            a depthwise one has 9; counted by outputs it would all but silence them.

    Raises:
        ValueError: If an index or ``frozen_stages`` is out of range, or ``widen_factor`` leaves a
            layer without channels.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (12,),
        frozen_stages: int = -1,
        norm_cfg: dict = dict(type='BN', eps=1e-3, momentum=0.01),
        act_cfg: dict = dict(type='ReLU6'),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | Sequence[dict] | None = dict(
            type='Kaiming', layer='Conv2d', mode='fan_in'
        ),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_bool(norm_eval=norm_eval, with_cp=with_cp)
        check_number(0, 64, widen_factor=widen_factor)
        check_int(-1, frozen_stages=frozen_stages)
        if (
            not isinstance(out_indices, (tuple, list))
            or not out_indices
            or any(isinstance(k, bool) or k not in range(len(BLOCKS)) for k in out_indices)
        ):
            raise ValueError(
                f'MobileNetV1: expected out_indices from 0 to {len(BLOCKS) - 1}, got {out_indices}'
            )
        num_stages = max(out_indices) + 1
        if frozen_stages not in range(-1, num_stages + 1):
            raise ValueError(
                f'MobileNetV1: expected frozen_stages from -1 to {num_stages}, got {frozen_stages}'
            )
        if int(32 * widen_factor) < 1:
            raise ValueError(f'MobileNetV1: expected widen_factor >= 1/32, got {widen_factor}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        norm_act = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        channels = int(32 * widen_factor)
        self.conv1 = ConvModule(
            3, channels, 3, stride=2, conv_cfg=dict(type='Conv2dAdaptivePadding'), **norm_act
        )
        for i, (width, stride) in enumerate(BLOCKS[:num_stages]):
            out_channels = int(width * widen_factor)
            pad = (
                dict(padding=1) if stride == 1 else dict(padding=(0, 1, 0, 1), padding_mode='zero')
            )
            depthwise = ConvModule(
                channels, channels, 3, stride=stride, groups=channels, **pad, **norm_act
            )
            pointwise = ConvModule(channels, out_channels, 1, **norm_act)
            self.add_module(
                f'layer{i + 1}',
                nn.Sequential(OrderedDict(depthwise_conv=depthwise, pointwise_conv=pointwise)),
            )
            channels = out_channels
        self._freeze()

    def _freeze(self) -> None:
        frozen = [self.conv1] if self.frozen_stages >= 0 else []
        frozen += [getattr(self, f'layer{i + 1}') for i in range(self.frozen_stages)]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'MobileNetV1':
        """Set the mode; frozen stages, and with ``norm_eval`` all norms, stay in eval mode."""
        super().train(mode)
        self._freeze()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Extract features.

        Args:
            x: RGB images scaled to [-1, 1], [N, 3, H, W].

        Returns:
            [N, C, H / stride, W / stride] of the stage in ``out_indices``, a tuple of these for
            several stages. H and W are rounded up in the stem and down in later stages.
        """
        x = self.conv1(x)  # [N, 32 * widen_factor, ceil(H / 2), ceil(W / 2)]
        outs = []
        for i in range(max(self.out_indices) + 1):
            layer = getattr(self, f'layer{i + 1}')
            if self.with_cp and x.requires_grad:
                x = cp.checkpoint(layer, x, use_reentrant=False)
            else:
                x = layer(x)
            if i in self.out_indices:
                outs.append(x)
        return outs[0] if len(outs) == 1 else tuple(outs)
