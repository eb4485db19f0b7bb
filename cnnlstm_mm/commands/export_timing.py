"""An exported model on videos, timed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from torch import Tensor, nn

from cnnlstm_mm.export.parity import prepared
from cnnlstm_mm.streaming import OnnxStreamingRecognizer


class Runner:
    """An exported model on the videos of a list, timed.

    Args:
        model (Recognizer3D): Gives the preprocessing.
        path (Path): The ONNX file.
        step (bool): Whether it is a step model.
    """

    def __init__(self, model: nn.Module, path: Path, step: bool) -> None:
        self.model = model
        self.session = session(path, threads=1)
        self.rec = OnnxStreamingRecognizer(path, threads=1) if step else None
        self.scores = np.zeros(0)
        self.seconds: list[float] = []

    def feeds(self, views: Tensor) -> Iterator[dict[str, np.ndarray]]:
        """Yield the inputs of each run; afterwards ``scores`` holds the result."""
        clips = prepared(self.model, [views])  # [1, views, 3, T, h, w]
        if self.rec is None:
            feed = dict(clips=clips)
            yield feed
            self.scores = self._timed(lambda: self.session.run(None, feed)[0])
            return
        state = self.rec.init_state()
        for t in range(clips.shape[3]):
            frame = np.ascontiguousarray(clips[:, 0, :, t])
            yield dict(state.tensors, frames=frame)
            self.scores, state = self._timed(lambda: self.rec.step(frame, state))

    def __call__(self, views: Tensor) -> int:
        """Predict the class of a video, uint8 [views, 3, T, h, w]."""
        for _ in self.feeds(views):
            pass
        return int(self.scores[0].argmax())

    def _timed(self, run: Any) -> Any:
        start = time.perf_counter()
        result = run()
        self.seconds.append(time.perf_counter() - start)
        return result


def session(path: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """Load an ONNX file on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
