"""A 2-D backbone on every frame of a clip."""

import contextlib
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from cnnlstm_mm.models.acceleration.folded_copy import FoldedCopy
from cnnlstm_mm.models.acceleration.in_place_relu import keep_outputs
from cnnlstm_mm.models.stepping import Size, State
from cnnlstm_mm.options import check_bool
from cnnlstm_mm.weights import check_pretrained
from mmaction.registry import MODELS
from mmaction.utils import ConfigType

from .frame_difference import FrameDifference, widen_input
from .timm_backbone import PREFIX, TimmBackbone
from .torchvision_stand_in import INSTALL, without_torchvision

Features = Tensor | tuple[Tensor, ...]

# Of the libraries that backbones import.
PIP = dict(
    mmpretrain='python -m pip install mmpretrain',
    timm='python -m pip install --no-deps timm',
    torchvision=INSTALL,
)


@MODELS.register_module()
class TimeDistributed(BaseModule):
    """Run a 2-D backbone on each frame: [N, 3, T, H, W] -> [N, C, T, h, w].

    The name and the meaning are Keras's. Time is folded into the batch and unfolded again, so
    frames never see each other (unless the backbone mixes them itself, as TSM's do with
    ``num_segments=T``).

    Without gradients (testing, or a frozen backbone) a copy runs whose batch norm is folded into
    the convolutions, wherever it computes the same; see
    :class:`~cnnlstm_mm.models.acceleration.folded_copy.FoldedCopy`, also for what that costs.

    Args:
        backbone: Config of a 2-D backbone of MMAction2, or of mmpretrain with its scope prefix
            (``mmpretrain.MobileNetV3``), or of a model of timm
            (``dict(type='timm.mobilenetv3_small_100', features_only=True)``, see
            :class:`TimmBackbone`). It maps [B, 3, H, W] to [B, C, h, w], to [B, C], or to a tuple
            of these.
        frozen: Keep weights and batch-norm statistics fixed whatever ``train()`` does, and build
            no gradient graph.
        channels_last: Run the backbone in channels_last memory format, 1.7 times as fast for
            MobileNetV2 on a CPU. ``fully_shard`` refuses weights in this format.
        bf16: Run a frozen backbone under autocast to bfloat16 where the device has instructions
            for it; the features come in the dtype of the frames. (A backbone that is trained
            takes ``cnnlstm-mm train --amp``.)
        drop_unused: Delete the stages after the last one of the backbone's ``out_indices``.
            MMAction2's MobileNetV2 builds all of them; without this they count as parameters, and
            distributed training refuses them as unused.
        init_from_seed: Draw the backbone's random weights from the run's seed alone, so that
            models with different necks start from the same backbone; otherwise from the stream of
            random numbers that the neck draws from as well.
        motion: What the backbone sees: None, the frames; 'difference', that of each frame to the
            one before; 'both', stacked in channels, for which its first convolution is widened. See
            :class:`FrameDifference`.
        init_cfg: Initialization of this wrapper, with keys that begin with ``backbone.``.
            Pretrained weights with bare keys belong in the ``init_cfg`` of ``backbone``.

    Raises:
        ValueError: If ``bf16`` is set for a backbone that is trained, or ``drop_unused`` for one
            whose stages are not known.
        ModuleNotFoundError: If a library of the backbone is not installed, with the pip command.
    """

    def __init__(
        self,
        backbone: ConfigType,
        frozen: bool = False,
        channels_last: bool = True,
        bf16: bool = False,
        drop_unused: bool = False,
        init_from_seed: bool = False,
        motion: str | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        check_bool(frozen=frozen, channels_last=channels_last, bf16=bf16)
        check_bool(drop_unused=drop_unused, init_from_seed=init_from_seed)
        if not isinstance(backbone, dict) or 'type' not in backbone:
            raise ValueError(
                'TimeDistributed: expected a backbone config with a type, such as '
                f'dict(type="MobileNetV2"), got {backbone!r}'
            )
        if bf16 and not frozen:
            raise ValueError(
                'TimeDistributed: expected frozen=True with bf16=True, got frozen=False; fix: set '
                'frozen=True, or train in mixed precision with cnnlstm-mm train --amp'
            )
        self.backbone = _build(backbone)
        if drop_unused:
            self._drop_unused()
        self.init_from_seed = init_from_seed
        self.frozen = frozen
        self.channels_last = channels_last
        self._folded = FoldedCopy(bf16)
        convolutions = (m for m in self.backbone.modules() if isinstance(m, nn.Conv2d))
        first = next(convolutions, None)
        self.in_channels = None if first is None else first.in_channels
        self.motion = None if motion is None else FrameDifference(motion)
        if motion == 'both':
            widen_input(self.backbone)
        if channels_last:
            self.backbone.to(memory_format=torch.channels_last)
        if frozen:
            self.backbone.requires_grad_(False)
            self.backbone.eval()
        else:
            keep_outputs(self.backbone)

    def init_weights(self) -> None:
        """Initialize as the backbone and ``init_cfg`` say; see :func:`check_pretrained`."""
        with torch.random.fork_rng(enabled=self.init_from_seed):
            if self.init_from_seed:
                torch.manual_seed(torch.initial_seed())
            super().init_weights()
        check_pretrained(self.backbone)

    def _drop_unused(self) -> None:
        stages = getattr(self.backbone, 'layers', None)
        outputs = getattr(self.backbone, 'out_indices', None)
        if (
            not outputs
            or not isinstance(stages, list)
            or not all(isinstance(stage, str) for stage in stages)
        ):
            raise ValueError(
                "TimeDistributed(drop_unused=True): expected stages as in MMAction2's MobileNetV2, "
                f'got {type(self.backbone).__name__}; fix: leave drop_unused out, or use an option '
                'of the backbone (num_stages of ResNet)'
            )
        for stage in stages[max(outputs) + 1 :]:
            delattr(self.backbone, stage)
        del stages[max(outputs) + 1 :]

    def train(self, mode: bool = True) -> 'TimeDistributed':
        """Set the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
            # Some backbones thaw parameters or leave them as they are here.
            self.backbone.requires_grad_(False)
        return self

    def forward(self, x: Tensor) -> Features:
        """Extract the features of each frame.

        Args:
            x: Clips, [N, 3, T, H, W].

        Returns:
            [N, C, T, h, w], or one for each output stage of the backbone. A backbone that pools
            gives h = w = 1.

        Raises:
            ValueError: If ``x`` is not [N, C, T, H, W] with the channels of the backbone.
        """
        self._check(x)
        return self._run(x if self.motion is None else self.motion(x))

    def init_state(
        self,
        batch: int,
        size: Size,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> State:
        """State of streams that have not begun, for frames of ``size``.

        Zeros: with ``motion`` the last ``frame``, [N, 3, H, W]; else none.
        """
        if self.motion is None:
            return {}
        shape = (batch, self.in_channels or 3, *size)
        return dict(frame=torch.zeros(shape, dtype=dtype, device=device))

    def forward_steps(self, x: Tensor, state: State, count: Tensor) -> tuple[Features, State]:
        """Go on from a state.

        Args:
            x: The next T frames, [N, 3, T, H, W].
            state: Of :meth:`init_state` or an earlier call.
            count: Frames that each stream has seen, [N].

        Returns:
            What :meth:`forward` gives for them, and the state after the last.
        """
        if self.motion is None:
            return self(x), {}
        self._check(x)
        begun = count.view(-1, 1, 1, 1, 1) > 0
        before = torch.where(begun, state['frame'][:, :, None], x[:, :, :1])
        return self._run(self.motion(x, before)), dict(frame=x[:, :, -1])

    def _run(self, x: Tensor) -> Features:
        # [N, 3, T, H, W] -> [N*T, 3, H, W]
        if self.channels_last:
            frames = x.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)
        else:
            frames = x.transpose(1, 2).flatten(0, 1)

        if self.frozen:
            with torch.no_grad():
                outputs = self._folded(self.backbone, frames, x.shape[2])
        elif self.backbone.training or torch.is_grad_enabled():
            outputs = self.backbone(frames)
        else:
            outputs = self._folded(self.backbone, frames, x.shape[2])

        if isinstance(outputs, (tuple, list)):
            unfolded = tuple(self._unfold(o, x) for o in outputs)
            return unfolded[0] if len(unfolded) == 1 else unfolded
        return self._unfold(outputs, x)

    @staticmethod
    def _unfold(feature: Tensor, x: Tensor) -> Tensor:
        if feature.dim() == 2:
            # [N*T, C] -> [N*T, C, 1, 1]
            feature = feature[:, :, None, None]
        if feature.dim() != 4:
            raise ValueError(
                'TimeDistributed: expected features [B, C, h, w] or [B, C] from the backbone, got '
                f"{tuple(feature.shape)}; fix: for a vision transformer set out_type='featmap' or "
                "'avg_featmap' (mmpretrain), or features_only=True (timm)"
            )
        # [N*T, C, h, w] -> [N, C, T, h, w]
        # Backbones may pool over time; without clips how far is unknown.
        steps = -1 if x.shape[0] else x.shape[2]
        return feature.unflatten(0, (x.shape[0], steps)).transpose(1, 2)

    def _check(self, x: Tensor) -> None:
        if x.dim() == 5 and self.in_channels in (None, x.shape[1]):
            return
        wanted = 'C' if self.in_channels is None else self.in_channels
        raise ValueError(
            f'TimeDistributed: expected an input [N, {wanted}, T, H, W], got {tuple(x.shape)}; '
            'fix: set FormatShape(input_format="NCTHW") in the pipeline and format_shape="NCTHW" '
            'in the data preprocessor, and use Recognizer3D'
        )


def _build(config: ConfigType) -> Any:
    kind = config['type']
    try:
        if isinstance(kind, str) and kind.startswith(PREFIX):
            options = {key: value for key, value in config.items() if key != 'type'}
            return TimmBackbone(kind.removeprefix(PREFIX), **options)
        ours = isinstance(kind, type) or kind in MODELS.module_dict
        with contextlib.nullcontext() if ours else without_torchvision():
            return MODELS.build(config)
    except ModuleNotFoundError as error:
        package = (error.name or '').partition('.')[0]
        if package not in PIP:
            raise
        raise ModuleNotFoundError(
            f'{kind}: expected the library {package}, got {error}; fix: {PIP[package]}',
            name=error.name,
        ) from error
