"""Recognizers as functions of tensors, for export."""

import copy

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from cnnlstm_mm.models.acceleration.folded_copy import fold_copy
from cnnlstm_mm.models.backbones import TimeDistributed
from cnnlstm_mm.streaming import StreamingRecognizer


class StepGraph(nn.Module):
    """One frame of each stream and the state, to scores and the next state.

    Args:
        rec: it is copied, and the batch norm of the copy folded.
        size: height and width of prepared frames.
    """

    def __init__(self, rec: StreamingRecognizer, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = copy.deepcopy(rec.model)
        fold(self.model.backbone, torch.zeros(1, 3, *size))
        out_of_place(self)
        state = rec.init_state(2, size).tensors
        self.names: list[str] = list(state)
        self.example = (torch.zeros(2, 3, *size), *state.values())

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map frames [N, 3, h, w] and the state to scores [N, classes] and the next state."""
        scores, after = self.model.step(frames[:, :, None], dict(zip(self.names, state)))
        return (scores[:, 0], *(after[name] for name in self.names))


class ClipGraph(nn.Module):
    """All views of each video, to its scores, averaged as in a test.

    Args:
        model: the Recognizer3D. It is copied, and the batch norm of the copy folded.
        shape: (T, height, width) of a prepared view.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(model.backbone)
        self.neck = copy.deepcopy(model.neck) if model.with_neck else None
        self.head = copy.deepcopy(model.cls_head)
        self.average = self.head.average_clips
        self.eval()
        if isinstance(self.backbone, TimeDistributed):
            fold(self.backbone, torch.zeros(shape[0], 3, *shape[1:]))
        out_of_place(self)
        self.names: list[str] = []
        self.example = (torch.zeros(2, 2, 3, *shape),)

    @property
    def probabilities(self) -> bool:
        """Whether the scores have been through the softmax."""
        return self.average == 'prob'

    def forward(self, clips: Tensor) -> Tensor:
        """Map clips [N, views, 3, T, h, w] to scores [N, classes]."""
        x = self.backbone(clips.flatten(0, 1))
        if self.neck is not None:
            x, _ = self.neck(x)
        scores = self.head(x).view(*clips.shape[:2], -1)
        if self.probabilities:
            scores = scores.softmax(dim=2)
        return scores.mean(dim=1)


def fold(backbone: TimeDistributed, frames: Tensor) -> None:
    """Fold the batch norms of a backbone into its convolutions, in place.

    Args:
        backbone: In evaluation mode.
        frames: Of one clip, [T, 3, h, w].
    """
    # A permutation of memory that exported graphs do not need.
    backbone.channels_last = False
    if backbone.motion is not None:
        frames = backbone.motion(frames.transpose(0, 1)[None])[0].transpose(0, 1)
    with torch.no_grad():
        folded, refusal = fold_copy(backbone.backbone, frames)
    if folded is not None:
        backbone.backbone = folded
    elif refusal is not None:
        print_log(f'exported without folded batch norm: {refusal}', 'current')
    backbone.backbone.to(memory_format=torch.contiguous_format)


def out_of_place(graph: nn.Module) -> None:
    """Let activations write to new memory: PyTorch takes those in place apart, which is slow."""
    for module in graph.modules():
        if getattr(module, 'inplace', None) is True:
            module.inplace = False
