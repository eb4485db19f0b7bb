"""Parameters and multiply-adds of the model of a config.

mmengine's counter traces the model and counts what it finds. It has no entry for ``nn.LSTM`` and
for attention in one operator; these are added here. A ConvLSTM is traced as the plain loop that
it is tested against.
"""

import copy
from math import prod
from typing import Any

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from cnnlstm_mm.models.fit import check_fit
from cnnlstm_mm.streaming.step_model import StepModel
from mmaction.registry import MODELS

from .view_size import View, view_of

PARTS = ('backbone', 'neck', 'cls_head')
RECOGNIZERS = ('Recognizer3D', 'Recognizer2D')


def complexity(
    cfg: Config, shape: tuple[int, int, int] | None = None, video_size: tuple[int, int] = (240, 320)
) -> dict[str, Any]:
    """Count parameters and multiply-adds of one run on a black view.

    Convolutions and matrix products count one for each multiplication with its addition, as in
    MMAction2's tables. Normalization and resizing count as mmengine's counter has them (2 a value
    for a batch norm in testing), pointwise operations and averages next to nothing. No weights
    and no videos are read.

    Args:
        cfg: The config of a Recognizer3D or Recognizer2D; it is not changed.
        shape: Frames, height and width of a view; by default those of the test pipeline.
        video_size: Height and width of the videos, for pipelines that do not crop; by default
            those of UCF101.

    Returns:
        ``flops`` of one view and ``params`` of the model, integers; ``trainable_params``;
        ``parts`` with these three of backbone, neck and cls_head; ``view`` with ``views``,
        ``frames``, ``height``, ``width``; ``per_frame`` with ``flops`` and ``parts`` of one frame
        of a stream, or with ``reason``, why the model does not run frame by frame.

    Raises:
        ValueError: If the config is not of a recognizer of videos, its parts do not fit, or the
            size of a view is neither given nor in the config.
    """
    kind = (cfg.get('model') or {}).get('type')
    if kind not in RECOGNIZERS:
        raise ValueError(f'expected a model of type {" or ".join(RECOGNIZERS)}, got {kind!r}')
    check_fit(cfg.model)
    view = View(1, *shape) if shape else view_of(cfg, video_size)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(copy.deepcopy(cfg.model))
    params = {name: _params(getattr(model, name, None)) for name in PARTS}
    channels, size = first_channels(model), (view.height, view.width)
    clip = (view.frames, channels) if kind == 'Recognizer2D' else (1, channels, view.frames)
    try:
        step = StepModel(model, torch.device('cpu'))
    except ValueError as error:
        per_frame = dict(reason=str(error))
    else:
        frame = torch.zeros(1, channels, 1, *size)
        per_frame = _flops(_OneStep(step, frame), frame, dict(cls_head='head'))
    flops = _flops(_Scores(model), torch.zeros(1, *clip, *size), {})
    parts = {
        name: dict(params[name], flops=flops['parts'][name])
        for name in PARTS
        if getattr(model, name, None) is not None
    }
    return dict(
        flops=flops['flops'],
        **_params(model),
        parts=parts,
        view=view._asdict(),
        per_frame=per_frame,
    )


def first_channels(model: nn.Module) -> int:
    """Channels of a recognizer's input: those of its first convolution.

    They are those of a stored feature if the backbone has no weights.
    """
    if getattr(model.backbone, 'motion', None) is not None:
        return model.backbone.in_channels
    for module in model.backbone.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            return module.in_channels
    return getattr(getattr(model, 'neck', None), 'in_channels', 3)


class _Scores(nn.Module):
    """A recognizer from a clip to its scores."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs, mode='tensor', stage='head')[0]


class _OneStep(nn.Module):
    """A stream's model from a frame to its scores."""

    def __init__(self, model: StepModel, frames: Tensor) -> None:
        super().__init__()
        self.model = model
        with torch.no_grad():
            size, frame_size = (tuple(x.shape[3:]) for x in (model.features(frames), frames))
        self.state = model.init_state(1, size, frames.device, frame_size)

    def forward(self, frames: Tensor) -> Tensor:
        return self.model.step(frames, self.state)[0]


def _params(module: nn.Module | None) -> dict[str, int]:
    parameters = [] if module is None else list(module.parameters())
    return dict(
        params=sum(p.numel() for p in parameters),
        trainable_params=sum(p.numel() for p in parameters if p.requires_grad),
    )


def count(module: nn.Module, inputs: Tensor) -> FlopAnalyzer:
    """Count with mmengine's counter and the operators that it lacks.

    Args:
        module: Put into evaluation mode.
        inputs: Its argument.

    Returns:
        Ask it for ``total()``, ``by_module()``, ``by_operator`` or ``unsupported_ops()``.
    """
    module.train(False)
    analyzer = FlopAnalyzer(module, inputs)
    analyzer.unsupported_ops_warnings(False)
    analyzer.uncalled_modules_warnings(False)
    return analyzer.tracer_warnings('none').set_op_handle(
        'aten::lstm', _lstm, 'aten::scaled_dot_product_attention', _attention
    )


@torch.no_grad()
def _flops(module: nn.Module, inputs: Tensor, names: dict[str, str]) -> dict[str, Any]:
    counted = count(module, inputs).by_module()
    parts = {part: int(counted[f'model.{names.get(part, part)}']) for part in PARTS}
    return dict(flops=int(counted['']), parts=parts)


def _shape(value: torch._C.Value) -> list[int]:
    return value.type().sizes()


def _lstm(inputs: list[torch._C.Value], outputs: list[torch._C.Value]) -> int:
    """Multiply-adds of ``aten::lstm(input, hx, params, ...)``.

    Each weight matrix meets each step of each sample once.
    """
    steps = prod(_shape(inputs[0])[:2])
    weights = [_shape(value) for value in inputs[2].node().inputs()]
    return steps * sum(prod(shape) for shape in weights if len(shape) == 2)


def _attention(inputs: list[torch._C.Value], outputs: list[torch._C.Value]) -> int:
    """Multiply-adds of softmax(q k') v: q [..., L, E], k [..., S, E], v [..., S, V]."""
    *batch, length, size = _shape(inputs[0])
    *_, sources, values = _shape(inputs[2])
    return prod(batch) * length * sources * (size + values)
