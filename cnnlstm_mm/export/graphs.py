"""Recognizers as functions of tensors, for export."""

import copy

import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn

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
        fold(self.model.backbone)
        state = rec.init_state(2, size).tensors
        self.names: list[str] = list(state)
        self.example = (torch.zeros(2, 3, *size), *state.values())

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Map frames [N, 3, h, w] and the state to scores [N, classes] and the next state."""
        features = self.model.features(frames[:, :, None])
        scores, after = self.model(features, dict(zip(self.names, state)))
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
        if isinstance(self.backbone, TimeDistributed):
            fold(self.backbone)
        self.eval()
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


def fold(backbone: TimeDistributed) -> None:
    """Fold the batch norms of a backbone into its convolutions, in place."""
    # A permutation of memory that exported graphs do not need.
    backbone.channels_last = False
    backbone.backbone = fuse_conv_bn(backbone.backbone).to(memory_format=torch.contiguous_format)
