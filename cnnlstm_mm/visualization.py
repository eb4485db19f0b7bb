"""Visualizer that draws predicted labels on videos."""

from typing import Any

import numpy as np
from mmengine.structures import LabelData

from mmaction.registry import VISUALIZERS
from mmaction.structures import ActionDataSample
from mmaction.visualization import ActionVisualizer


@VISUALIZERS.register_module()
class TopKVisualizer(ActionVisualizer):
    """MMAction2's ActionVisualizer, drawing the k best classes.

    Upstream 1.2.0 reads ``pred_labels`` and ``gt_labels``, which its ActionDataSample no longer
    has, and so draws no label at all.

    Args:
        name: Name of the instance.
        topk: Number of classes to draw.
        **kwargs: Arguments of ``ActionVisualizer``.
    """

    def __init__(self, name: str = 'visualizer', topk: int = 3, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.topk = topk

    def add_datasample(
        self, name: str, video: Any, data_sample: ActionDataSample | None = None, **kwargs: Any
    ) -> np.ndarray:
        """Draw the labels on every frame and save the video.

        Args:
            name: Name of the video.
            video: Frames [T, H, W, 3] as uint8 RGB, or the path of a video file or of a folder of
                frames.
            data_sample: Prediction and truth.
            **kwargs: See ``ActionVisualizer.add_datasample``.

        Returns:
            The drawn frames, uint8 RGB [T, H, W, 3].
        """
        drawn = ActionDataSample()
        if data_sample is not None and 'pred_score' in data_sample:
            score = data_sample.pred_score
            best = score.argsort(descending=True)[: self.topk]
            drawn.pred_labels = LabelData(item=best, score=score)
        if data_sample is not None and 'gt_label' in data_sample:
            drawn.gt_labels = drawn.gt_label = data_sample.gt_label
        return super().add_datasample(name, video, drawn, **kwargs)
