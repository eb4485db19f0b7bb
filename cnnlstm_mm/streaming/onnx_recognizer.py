"""Recognition while the video runs, by onnxruntime alone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import numpy as np
import onnxruntime

from .frames import FrameTransform
from .onnx_state import OnnxStreamState

Frames = Union[np.ndarray, Sequence[np.ndarray]]


class OnnxStreamingRecognizer:
    """:class:`StreamingRecognizer` for a file of ``tools/export_onnx.py``.

    It needs numpy, OpenCV and onnxruntime, and neither PyTorch nor MMAction2.

    ::

        rec = OnnxStreamingRecognizer('step.onnx')
        state = None
        for frame in camera:  # uint8 RGB [H, W, 3]
            scores, state = rec.step([frame], state)  # [1, classes]
            print(rec.labels[scores[0].argmax()])

    Args:
        model (str or Path): The ONNX file, exported with ``--mode step``.
        threads (int, optional): CPU threads. Defaults to None, one a core.
        providers (Sequence[str]): onnxruntime's execution providers, the best
            first. Defaults to the CPU's.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is no step model of ``tools/export_onnx.py``.
    """

    def __init__(
        self,
        model: str | Path,
        threads: int | None = None,
        providers: Sequence[str] = ('CPUExecutionProvider',),
    ) -> None:
        if not Path(model).is_file():
            raise FileNotFoundError(f'there is no ONNX model {model}')
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = onnxruntime.InferenceSession(str(model), options, providers=list(providers))
        facts = self.session.get_modelmeta().custom_metadata_map
        if facts.get('mode') != 'step':
            raise ValueError(
                f'{model} is no step model: write one with '
                'tools/export_onnx.py CONFIG CHECKPOINT --mode step.'
            )
        facts = {
            name: json.loads(facts[name]) if name != 'model_id' else facts[name]
            for name in (
                'labels',
                'preprocessing',
                'state',
                'probabilities',
                'frame_interval',
                'model_id',
            )
        }
        prepare = facts['preprocessing']
        self.labels: list[str] = facts['labels']
        self.num_classes = len(self.labels)
        self.probabilities: bool = facts['probabilities']
        self.frame_interval: int = facts['frame_interval']
        self.model_id: str = facts['model_id']
        self.transform = FrameTransform(prepare['steps'])
        self.frame_size: tuple[int, int] = tuple(prepare['size'])
        self.normalization = dict(
            mean=prepare['mean'], std=prepare['std'], to_rgb=prepare['channel_order'] == 'BGR'
        )
        self._mean, self._std = (np.asarray(prepare[name], np.float32) for name in ('mean', 'std'))
        self._state: list[dict] = facts['state']
        self._outputs = ['scores'] + [part['output'] for part in self._state]

    def step(
        self, frames: Frames, state: OnnxStreamState | None = None
    ) -> tuple[np.ndarray, OnnxStreamState]:
        """Take one more frame of each stream.

        Args:
            frames (ndarray or Sequence[ndarray]): One a stream: uint8 RGB
                [N, H, W, 3], or N arrays [H, W, 3] of any sizes; or prepared
                ones, floating point [N, 3, h, w] (:meth:`prepare`).
            state (OnnxStreamState, optional): The streams before this frame.
                Defaults to None: all begin.

        Returns:
            tuple[ndarray, OnnxStreamState]: Scores [N, classes] and the
            streams after this frame; ``state`` is left as it is. The scores
            are probabilities if ``probabilities`` is True.

        Raises:
            ValueError: For other frames, or a state that is of another model
                or number of streams, or has NaN in it.
        """
        x = self.prepare(frames)
        if state is None:
            state = self.init_state(len(x))
        self._check(state, len(x))
        scores, *tensors = self.session.run(self._outputs, dict(state.tensors, frames=x))
        bad = _not_finite(scores, x, *state.tensors.values())
        if bad:
            raise ValueError(
                f'a frame or the state has NaN in the streams {bad}: let them '
                'begin anew with rec.reset(state, mask).'
            )
        names = (part['input'] for part in self._state)
        return scores, OnnxStreamState(dict(zip(names, tensors)), self.model_id)

    def steps(
        self, chunk: Frames, state: OnnxStreamState | None = None
    ) -> tuple[np.ndarray, OnnxStreamState]:
        """Take several more frames of each stream.

        Args:
            chunk (ndarray or Sequence[ndarray]): uint8 RGB [N, T, H, W, 3],
                or N arrays [T, H, W, 3]; or prepared ones, floating point
                [N, 3, T, h, w].
            state (OnnxStreamState, optional): The streams before these
                frames. Defaults to None: all begin.

        Returns:
            tuple[ndarray, OnnxStreamState]: Scores after each frame [N, T,
            classes], and the streams after the last.

        Raises:
            ValueError: See :meth:`step`.
        """
        if _is_prepared(chunk):
            frames = list(np.moveaxis(chunk, 2, 0))
        else:
            lengths = {len(stream) for stream in chunk}
            if len(lengths) != 1 or 0 in lengths:
                raise ValueError(
                    'a chunk must have the same number of '
                    'frames, at least 1, of each stream, got '
                    f'{sorted(lengths)}'
                )
            frames = list(zip(*chunk))
        scores = []
        for frame in frames:
            now, state = self.step(frame, state)
            scores.append(now)
        return np.stack(scores, 1), state

    def prepare(self, frames: Frames) -> np.ndarray:
        """Resize, crop and normalize frames as in a test of the config.

        Args:
            frames (ndarray or Sequence[ndarray]): See :meth:`step`; prepared
                ones are only made float32.

        Returns:
            ndarray: float32 [N, 3, h, w].

        Raises:
            ValueError: For other frames, or frames that end in another size
                than the model has.
        """
        if _is_prepared(frames):
            x = np.ascontiguousarray(frames, np.float32)
        else:
            done = [self.transform(np.asarray(frame)) for frame in frames]
            wrong = {frame.shape[:2] for frame in done} - {self.frame_size}
            if wrong or not done:
                raise ValueError(
                    f'the frames end in sizes {sorted(wrong)}, and the model '
                    f'was exported for (height, width) = {self.frame_size}'
                    if done
                    else 'there are no frames'
                )
            x = np.empty((len(done), 3, *self.frame_size), np.float32)
            order = (2, 1, 0) if self.normalization['to_rgb'] else (0, 1, 2)
            for frame, plane in zip(done, x):
                for channel, source in enumerate(order):
                    np.subtract(
                        frame[..., source],
                        self._mean[channel],
                        out=plane[channel],
                        dtype=np.float32,
                    )
            x /= self._std[:, None, None]
        if x.shape[1:] != (3, *self.frame_size):
            raise ValueError(
                'prepared frames must be floating point [N, 3, '
                f'{self.frame_size[0]}, {self.frame_size[1]}], got '
                f'{list(x.shape)}'
            )
        return x

    def init_state(
        self, batch: int = 1, frame_size: tuple[int, int] | None = None
    ) -> OnnxStreamState:
        """Make streams that have not begun, to join others.

        Args:
            batch (int): How many. Defaults to 1.
            frame_size (tuple[int], optional): Height and width of prepared
                frames; a file has one. Defaults to None.

        Returns:
            OnnxStreamState: All zeros.

        Raises:
            ValueError: If the model has another frame size.
        """
        if frame_size is not None and tuple(frame_size) != self.frame_size:
            raise ValueError(
                f'the model was exported for (height, width) = '
                f'{self.frame_size}, not {tuple(frame_size)}'
            )
        return OnnxStreamState(
            {
                part['input']: np.zeros((batch, *part['shape']), part['dtype'])
                for part in self._state
            },
            self.model_id,
        )

    def reset(self, state: OnnxStreamState, mask: np.ndarray | Sequence[bool]) -> OnnxStreamState:
        """Let some streams begin anew.

        Args:
            state (OnnxStreamState): N streams.
            mask (ndarray or Sequence[bool]): bool [N], which of them.

        Returns:
            OnnxStreamState: A new state; ``state`` is left as it is.

        Raises:
            ValueError: If ``mask`` is no bool [N].
        """
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != (len(state),):
            raise ValueError(
                f'mask must be bool [{len(state)}], got {mask.dtype} {list(mask.shape)}'
            )
        tensors: dict[str, np.ndarray] = {}
        for name, tensor in state.tensors.items():
            tensors[name] = tensor.copy()
            tensors[name][mask] = 0
        return OnnxStreamState(tensors, state.model)

    def _check(self, state: OnnxStreamState, batch: int) -> None:
        if not isinstance(state, OnnxStreamState):
            raise ValueError(
                'the state must be the OnnxStreamState of an earlier step, or '
                f'None for streams that begin, got a {type(state).__name__}.'
            )
        if state.model != self.model_id:
            raise ValueError(
                f'the state belongs to the model {state.model}, and this is '
                f'{self.model_id}: streams begin anew with other weights '
                '(state=None).'
            )
        wanted = {part['input']: (tuple(part['shape']), part['dtype']) for part in self._state}
        found = {
            name: (np.shape(value)[1:], str(np.asarray(value).dtype))
            for name, value in state.tensors.items()
        }
        if found != wanted:
            raise ValueError(
                f'the state holds {found}, and the model needs '
                f'{wanted}: begin new streams (state=None).'
            )
        sizes = {len(value) for value in state.tensors.values()}
        if sizes != {batch}:
            raise ValueError(
                f'{batch} frames for a state of '
                f'{" and ".join(map(str, sorted(sizes)))} streams: '
                'streams join by OnnxStreamState.cat([state, '
                'rec.init_state(n)]) and leave by state.select(index).'
            )


def _not_finite(*values: np.ndarray) -> list[int]:
    """The numbers of streams with NaN, infinity or a negative counter."""
    bad = np.zeros(len(values[0]), bool)
    for value in values:
        flat = value.reshape(len(value), -1)
        bad |= (~np.isfinite(flat)).any(1) if flat.dtype.kind == 'f' else (flat < 0).any(1)
    return bad.nonzero()[0].tolist()


def _is_prepared(frames: Frames) -> bool:
    return isinstance(frames, np.ndarray) and np.issubdtype(frames.dtype, np.floating)
