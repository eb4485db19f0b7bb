"""Frame-by-frame recognition in onnxruntime."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from .base_recognizer import BaseStreamingRecognizer
from .frames import FrameTransform
from .onnx_state import OnnxStreamState
from .state_checks import Layout


class OnnxStreamingRecognizer(BaseStreamingRecognizer):
    """:class:`StreamingRecognizer` for a file of ``cnnlstm-mm export``.

    It needs numpy, OpenCV and onnxruntime, and neither PyTorch nor MMAction2.

    ::

        rec = OnnxStreamingRecognizer('step.onnx')
        state = None
        for frame in camera:  # uint8 RGB [H, W, 3]
            scores, state = rec.step([frame], state)  # [1, classes]
            print(rec.labels[scores[0].argmax()])

    Args:
        model: the ONNX file, exported with ``--mode step``.
        threads: CPU threads; None for one a core.
        providers: onnxruntime's execution providers, in order of preference.
        check: when to test frames, states and scores for NaN: 'always', 'first' (when streams
            begin) or 'never'. On a GPU a test makes the host wait.

    Attributes:
        labels: names of the classes.
        probabilities: whether the scores have been through the softmax, or the sigmoid.
        multi_class: whether a video has several labels, whose scores belong into a sigmoid.
        none_class: number of the class for "nothing is happening"; None if there is none.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it was not exported with ``--mode step``.
    """

    State = OnnxStreamState

    def __init__(
        self,
        model: str | Path,
        threads: int | None = None,
        providers: Sequence[str] = ('CPUExecutionProvider',),
        check: str = 'always',
    ) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f'expected an ONNX model at {model}, got no such file')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = onnxruntime.InferenceSession(str(model), options, providers=list(providers))
        facts: dict[str, Any] = self.session.get_modelmeta().custom_metadata_map
        if facts.get('mode') != 'step':
            raise ValueError(
                f'expected a step model, got {model} with the mode {facts.get("mode")!r}; fix: '
                'export it with cnnlstm-mm export CONFIG CHECKPOINT --mode step'
            )
        self.model_id = facts['model_id']
        self.labels: list[str] = json.loads(facts['labels'])
        self.num_classes = len(self.labels)
        self.probabilities: bool = json.loads(facts['probabilities'])
        self.multi_class: bool = json.loads(facts.get('multi_class', 'false'))
        self.none_class: int | None = json.loads(facts.get('none_class', 'null'))
        self.frame_interval = json.loads(facts['frame_interval'])
        prepare = json.loads(facts['preprocessing'])
        super().__init__(FrameTransform(prepare['steps']), check)
        self._size: tuple[int, int] = tuple(prepare['size'])
        self.normalization = dict(
            mean=prepare['mean'], std=prepare['std'], to_rgb=prepare['channel_order'] == 'BGR'
        )
        self._mean, self._std = (np.asarray(prepare[name], np.float32) for name in ('mean', 'std'))
        parts = json.loads(facts['state'])
        self._state: Layout = {
            part['input']: (tuple(part['shape']), np.dtype(part['dtype'])) for part in parts
        }
        self._outputs = ['scores'] + [part['output'] for part in parts]

    @property
    def frame_size(self) -> tuple[int, int]:
        """(height, width) of prepared frames."""
        return self._size

    def _is_prepared(self, frames: Any) -> bool:
        return isinstance(frames, np.ndarray) and np.issubdtype(frames.dtype, np.floating)

    def _float(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x, np.float32)

    def _normalize(self, images: list[np.ndarray]) -> np.ndarray:
        x = np.empty((len(images), 3, *self.frame_size), np.float32)
        order = (2, 1, 0) if self.normalization['to_rgb'] else (0, 1, 2)
        for image, plane in zip(images, x):
            for channel, source in enumerate(order):
                np.subtract(
                    image[..., source], self._mean[channel], out=plane[channel], dtype=np.float32
                )
        x /= self._std[:, None, None]
        return x

    def _zeros(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        return np.zeros(shape, dtype)

    def _layout(self, size: tuple[int, int]) -> Layout:
        if size != self.frame_size:
            raise ValueError(
                f'expected prepared frames of (height, width) = {self.frame_size}, which the model '
                f'was exported for, got {size}'
            )
        return self._state

    def _scores(
        self, x: np.ndarray, state: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        scores = []
        for t in range(x.shape[2]):
            feed = dict(state, frames=np.ascontiguousarray(x[:, :, t]))
            now, *after = self.session.run(self._outputs, feed)
            state = dict(zip(self._state, after))
            scores.append(now[:, None])
        return scores[0] if len(scores) == 1 else np.concatenate(scores, 1), state
