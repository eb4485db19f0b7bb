"""A recognizer as a function of frames and state."""

import contextlib
import copy
from typing import ContextManager

import torch
from torch import Tensor, nn

from cnnlstm_mm.models.acceleration.folded_copy import FoldedCopy, has_bfloat16
from cnnlstm_mm.models.backbones import TimeDistributed
from cnnlstm_mm.models.backbones.time_distributed import Features
from cnnlstm_mm.models.stepping import State


class StepModel(nn.Module):
    """Scores after each frame, from frames and the state before them.

    Nothing but tensors goes in and out, and nothing is kept: this is what
    :class:`StreamingRecognizer` runs and what is exported.

    Args:
        recognizer (Recognizer3D): TimeDistributed, a recurrent neck with
            ``init_state`` and ``forward_steps``, and a head. It is copied.
        device (torch.device): Where it shall run.
        bf16 (bool): Run the convolutions in bfloat16, on a device that has
            it. States stay float32. Defaults to False.

    Raises:
        ValueError: If the model needs more than the frames so far, saying
            what to change.
    """

    def __init__(self, recognizer: nn.Module, device: torch.device, bf16: bool = False) -> None:
        super().__init__()
        check_streamable(recognizer)
        self.backbone = copy.deepcopy(recognizer.backbone)
        self.neck = copy.deepcopy(recognizer.neck)
        self.head = copy.deepcopy(recognizer.cls_head)
        self.probabilities = self.head.average_clips == 'prob'
        self.to(device)
        self.bf16 = bf16 and has_bfloat16(device)
        self.backbone._folded = FoldedCopy(bf16 or self.backbone._folded.bf16, immutable=True)
        if self.bf16 and hasattr(self.neck, 'conv_lstm'):
            for name, weight in self.neck.conv_lstm.named_parameters():
                if not name.startswith('peephole'):
                    weight.data = weight.data.bfloat16()
        self.requires_grad_(False)
        self.train(False)

    def init_state(
        self, batch: int, size: tuple[int, int], device: torch.device | None = None
    ) -> State:
        """Make the state of streams that have not begun.

        Args:
            batch (int): N, how many streams.
            size (tuple[int]): Height and width of the backbone's feature.
            device (torch.device, optional): Defaults to the CPU.

        Returns:
            dict[str, Tensor]: Zeros [N, ...], those of the neck as ``neck.*``
            and those of the head, if it has any, as ``head.*``.
        """
        parts = dict(neck=self.neck.init_state(batch, size, torch.float32, device))
        if self.neck.every_step:
            parts['head'] = self.head.init_state(batch, torch.float32, device)
        return {
            f'{part}.{name}': tensor
            for part, state in parts.items()
            for name, tensor in state.items()
        }

    def features(self, frames: Tensor) -> Tensor:
        """The backbone's features.

        Args:
            frames (Tensor): Prepared frames, float32 [N, 3, T, H, W].

        Returns:
            Tensor: [N, C, T, h, w]; the neck's stage of several.
        """
        return self.stage(self.backbone(frames))

    def stage(self, features: Features) -> Tensor:
        """The neck's stage of several, or the only one."""
        if isinstance(features, tuple):
            features = features[self.neck.in_index]
        return features

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Go on for T steps.

        Args:
            features (Tensor): Of the next T frames, [N, C, T, h, w].
            state (dict[str, Tensor]): The state before them.

        Returns:
            tuple[Tensor, dict]: Scores after each frame [N, T, classes], and
            the state after the last. The scores are probabilities if the
            head has ``average_clips='prob'``, else those before the softmax.
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
            f'{part}.{name}': tensor.float() if tensor.is_floating_point() else tensor
            for part, state in parts.items()
            for name, tensor in state.items()
        }

    def _narrow(self, x: Tensor) -> ContextManager:
        # nn.LSTM takes little time and keeps its float32.
        if self.bf16 and hasattr(self.neck, 'conv_lstm'):
            return torch.autocast(x.device.type, torch.bfloat16)
        return contextlib.nullcontext()


def _part(state: State, part: str) -> dict[str, Tensor]:
    return {
        name.split('.', 1)[1]: tensor
        for name, tensor in state.items()
        if name.startswith(f'{part}.')
    }


def check_streamable(model: nn.Module) -> None:
    """Refuse a model that needs more than the frames so far.

    Args:
        model (Recognizer3D): The recognizer.

    Raises:
        ValueError: Saying what to change.
    """
    kind = type(model).__name__
    backbone = getattr(model, 'backbone', None)
    if not isinstance(backbone, TimeDistributed):
        raise ValueError(
            f'{kind} with the backbone {type(backbone).__name__} cannot run '
            'frame by frame: use type="Recognizer3D" and a 2-D backbone in '
            'TimeDistributed(backbone=...), which sees one frame at a time.'
        )
    for module in backbone.modules():
        if getattr(module, 'num_segments', 1) not in (None, 1):
            raise ValueError(
                f'{type(backbone.backbone).__name__} mixes the '
                f'{module.num_segments} frames of a clip '
                f'({type(module).__name__}): use a backbone without it, such '
                'as MobileNetV2 or ResNet.'
            )
    neck = getattr(model, 'neck', None)
    if not all(hasattr(neck, name) for name in ('init_state', 'forward_steps', 'check_causal')):
        what = 'no neck' if neck is None else f'the neck {type(neck).__name__}'
        raise ValueError(
            f'{kind} with {what} has no state to carry from frame to frame: '
            'use a recurrent neck, ConvLSTMNeck or LSTMPoolingNeck.'
        )
    neck.check_causal()
    head = model.cls_head
    steps = getattr(head, 'input_size', (0, 1))[1]  # FlattenHead's
    if (neck.every_step and not hasattr(head, 'forward_steps')) or steps != 1:
        raise ValueError(
            f'{type(head).__name__} needs all steps of a clip at once: let '
            f'{type(neck).__name__} return one feature (return_mode or '
            "temporal_pool='last' or 'mean'; after an average over time 'mean'"
            ' gives the same scores) and set num_steps=1 where the head has '
            'it, or use type="PerStepHead".'
        )
