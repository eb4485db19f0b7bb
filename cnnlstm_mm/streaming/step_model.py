"""Recognizer as a function of frames and state."""

import copy
import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from cnnlstm_mm.models.acceleration.folded_copy import FoldedCopy, has_bfloat16
from cnnlstm_mm.models.backbones import TimeDistributed
from cnnlstm_mm.models.backbones.time_distributed import Features
from cnnlstm_mm.models.necks import RecurrentNeck
from cnnlstm_mm.models.stepping import Size, State


class StepModel(nn.Module):
    """Scores after each frame, from frames and the state before them.

    Only tensors go in and out, and nothing is kept between calls: :class:`StreamingRecognizer`
    runs this model, and ``cnnlstm-mm export`` exports it.

    Args:
        recognizer: a Recognizer3D of TimeDistributed, a recurrent neck with ``init_state`` and
            ``forward_steps``, and a head. It is copied.
        device: where the copy runs.
        bf16: runs the convolutions in bfloat16, on a device with instructions for it; elsewhere
            they run in float32, with a warning. States stay float32.

    Raises:
        ValueError: if the model needs later frames; the message says what to change.
    """

    def __init__(self, recognizer: nn.Module, device: torch.device, bf16: bool = False) -> None:
        super().__init__()
        check_streamable(recognizer)
        self.backbone = copy.deepcopy(recognizer.backbone)
        self.neck = copy.deepcopy(recognizer.neck)
        self.head = copy.deepcopy(recognizer.cls_head)
        self.probabilities = self.head.average_clips == 'prob'
        self.multi_class = bool(getattr(self.head, 'multi_class', False))
        self.to(device)
        self.bf16 = bf16 and has_bfloat16(device)
        if bf16 and not self.bf16:
            warnings.warn(
                f'expected bfloat16 instructions (AMX or AVX512-BF16 on an x86 CPU), this '
                f'{device.type} has none, so the stream runs in float32, which is faster here',
                stacklevel=2,
            )
        self.backbone._folded = FoldedCopy(self.bf16 or self.backbone._folded.bf16, immutable=True)
        if self.bf16 and hasattr(self.neck, 'conv_lstm'):
            for name, weight in self.neck.conv_lstm.named_parameters():
                if not name.startswith('peephole'):
                    weight.data = weight.data.bfloat16()
        self.requires_grad_(False)
        self.train(False)

    def init_state(
        self, batch: int, size: Size, device: torch.device | None = None, frame_size: Size = (1, 1)
    ) -> State:
        """Create the state of streams before their first frame.

        Args:
            batch: N, the number of streams.
            size: height and width of the backbone's feature.
            device: of the state.
            frame_size: height and width of prepared frames, where the backbone has a state.

        Returns:
            Zeros [N, ...], the neck's as ``neck.*``, and those of the backbone and the head, if
            they have a state, as ``backbone.*`` and ``head.*``.
        """
        parts = dict(neck=self.neck.init_state(batch, size, torch.float32, device))
        if self.neck.every_step:
            parts['head'] = self.head.init_state(batch, torch.float32, device)
        parts['backbone'] = self.backbone.init_state(batch, frame_size, torch.float32, device)
        return _joined(parts)

    @property
    def sees_motion(self) -> bool:
        """Whether the features of a frame depend on the one before it."""
        return self.backbone.motion is not None

    def features(self, frames: Tensor, before: Tensor | None = None) -> Tensor:
        """Run the backbone on prepared frames, float32 [N, 3, T, H, W] to [N, C, T, h, w].

        Args:
            frames: the frames.
            before: the frame before them, [N, 3, H, W]; None if they begin a clip.
        """
        if before is None:
            return self.stage(self.backbone(frames))
        count = torch.ones(len(frames), dtype=torch.int64, device=frames.device)
        return self.stage(self.backbone.forward_steps(frames, dict(frame=before), count)[0])

    def step(self, frames: Tensor, state: State) -> tuple[Tensor, State]:
        """Run backbone, neck and head on T prepared frames, float32 [N, 3, T, H, W].

        Returns:
            As :meth:`forward`.
        """
        features, backbone = self.backbone.forward_steps(
            frames, _part(state, 'backbone'), state['neck.count']
        )
        scores, after = self(self.stage(features), state)
        return scores, dict(after, **_joined(dict(backbone=backbone)))

    def stage(self, features: Features) -> Tensor:
        """Select the stage that the neck takes."""
        if isinstance(features, tuple):
            features = features[self.neck.in_index]
        return features

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the neck and the head on the features of T frames.

        Args:
            features: [N, C, T, h, w].
            state: the state before them.

        Returns:
            Scores after each frame [N, T, classes], probabilities if the head has
            ``average_clips='prob'``; and the state after the last frame.
        """
        with self._narrow(features):
            x, neck = self.neck.forward_steps(features, _part(state, 'neck'))
        x = x.float()
        parts = dict(neck=neck)
        if self.neck.every_step:
            scores, parts['head'] = self.head.forward_steps(x, _part(state, 'head'))
        else:
            # [N, C, T, h, w] -> [N*T, C, 1, h, w] -> [N, T, classes]
            steps = x.transpose(1, 2).flatten(0, 1).unsqueeze(2)
            scores = self.head(steps).unflatten(0, (x.shape[0], -1))
        if self.probabilities:
            scores = scores.softmax(dim=2)
        return scores, {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in _joined(parts).items()
        }

    def as_probabilities(self, scores: Tensor) -> Tensor:
        """Scores [..., classes] of :meth:`forward` as probabilities.

        A head with ``multi_class``, whose videos have several labels, gives each class its own.
        """
        if self.probabilities:
            return scores
        return scores.sigmoid() if self.multi_class else scores.softmax(-1)

    def _narrow(self, x: Tensor) -> AbstractContextManager:
        # nn.LSTM takes little time and stays in float32.
        if self.bf16 and hasattr(self.neck, 'conv_lstm'):
            return torch.autocast(x.device.type, torch.bfloat16)
        return nullcontext()


def _joined(parts: dict[str, State]) -> State:
    return {
        f'{part}.{name}': tensor for part, state in parts.items() for name, tensor in state.items()
    }


def _part(state: State, part: str) -> dict[str, Tensor]:
    return {
        name.split('.', 1)[1]: tensor
        for name, tensor in state.items()
        if name.startswith(f'{part}.')
    }


def check_streamable(model: nn.Module) -> None:
    """Check that a model needs no frames but those so far.

    Args:
        model: the Recognizer3D.

    Raises:
        ValueError: with what to change.
    """
    kind = type(model).__name__
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, TimeDistributed):
        raise ValueError(
            'expected a backbone that sees one frame at a time, got '
            f'{type(backbone).__name__} in {kind}; fix: use type="Recognizer3D" and a 2-D '
            'backbone in TimeDistributed(backbone=...)'
        )
    for module in backbone.modules():
        if getattr(module, 'num_segments', 1) not in (None, 1):
            raise ValueError(
                f'expected a backbone that sees one frame at a time, got '
                f'{type(backbone.backbone).__name__}, whose {type(module).__name__} mixes the '
                f'{module.num_segments} frames of a clip; fix: use MobileNetV2 or ResNet'
            )
    neck = getattr(model, 'neck', None)
    if not isinstance(neck, RecurrentNeck):
        found = 'no neck' if neck is None else f'the neck {type(neck).__name__}'
        raise ValueError(
            f'expected a recurrent neck, whose state is carried from frame to frame, got {kind} '
            f'with {found}; fix: use a recurrent neck such as ConvLSTMNeck or LSTMPoolingNeck'
        )
    neck.check_causal()
    head = model.cls_head
    steps = getattr(head, 'input_size', (0, 1))[1]  # FlattenHead's
    if (neck.every_step and not hasattr(head, 'forward_steps')) or steps != 1:
        raise ValueError(
            f'expected a head that takes one step at a time, got {type(head).__name__}, which '
            f'needs all steps of a clip; fix: let {type(neck).__name__} return one feature '
            f"({neck.pool_option}='last' or 'mean'; after an average over time 'mean' gives the "
            'same scores) and set num_steps=1 where the head has it, or use type="PerStepHead"'
        )
