"""Comparison of exported models with PyTorch."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch
from rich.progress import Progress
from torch import Tensor, nn

from cnnlstm_mm.streaming import (
    OnnxStreamingRecognizer,
    OnnxStreamState,
    StreamingRecognizer,
    StreamState,
)
from mmaction.structures import ActionDataSample

CHUNK = 64  # frames in one run of a clip model


def check_step(
    rec: StreamingRecognizer, exported: OnnxStreamingRecognizer, frames: Sequence[np.ndarray]
) -> float:
    """Run a video through both, as two streams of which one joins half way.

    Args:
        rec: the recognizer in PyTorch.
        exported: the same in onnxruntime.
        frames: the video, each frame RGB uint8 [H, W, 3].

    Returns:
        The largest difference of a score, relative to the largest score if that is beyond 1.
    """
    largest, half = 0.0, len(frames) // 2
    ours, theirs = None, None
    with Progress(transient=True) as progress:
        for t in progress.track(range(len(frames)), description='against PyTorch'):
            if t == half and half:
                ours = StreamState.cat([ours, rec.init_state(1, exported.frame_size)])
                theirs = OnnxStreamState.cat([theirs, exported.init_state()])
            batch = [frames[t]]
            if t >= half:
                batch = [frames[t], frames[t - half]]
                if not half:
                    batch = batch[:1]
            want, ours = rec.step(batch, ours)
            have, theirs = exported.step(batch, theirs)
            largest = max(largest, difference(want.cpu().numpy(), have))
    return largest


def check_clip(model: nn.Module, session: onnxruntime.InferenceSession, views: Tensor) -> float:
    """Run all views of a video through both, and a batch of two videos.

    Args:
        model: the Recognizer3D.
        session: the exported model.
        views: uint8 [views, 3, T, h, w].

    Returns:
        See :func:`check_step`.
    """
    parts = views.split(max(1, CHUNK // views.shape[2]))
    batches = [[part] for part in parts]
    batches.append([views[:1], views[:1].flip(2)])
    largest = 0.0
    with Progress(transient=True) as progress:
        for videos in progress.track(batches, description='against PyTorch'):
            data = dict(inputs=videos, data_samples=[ActionDataSample() for _ in videos])
            with torch.no_grad():
                want = [sample.pred_score for sample in model.test_step(data)]
            have = session.run(None, dict(clips=prepared(model, videos)))[0]
            largest = max(largest, difference(torch.stack(want).numpy(), have))
    return largest


def prepared(model: nn.Module, videos: Sequence[Tensor]) -> np.ndarray:
    """Normalize videos, uint8 [views, 3, T, h, w] each, to float32 [N, views, 3, T, h, w]."""
    data = model.data_preprocessor(
        dict(inputs=list(videos), data_samples=[ActionDataSample() for _ in videos])
    )
    return data['inputs'].numpy()


def difference(want: np.ndarray, have: np.ndarray) -> float:
    """Compute the largest difference, relative to the largest score if that is beyond 1."""
    scale = max(1.0, float(np.abs(want).max()))
    found = float(np.abs(want - have).max()) / scale
    return float('inf') if np.isnan(found) else found
