"""Frame-by-frame recognition, in any array library."""

from typing import Any

import numpy as np

from .base_state import BaseStreamState
from .frames import FrameTransform
from .state_checks import Layout, check_finite, check_state

CHECKS = ('always', 'first', 'never')


class BaseStreamingRecognizer:
    """Scores after every frame of a batch of streams, at the cost of one frame.

    A subclass sets the attributes and implements the methods at the end for its array library.

    Args:
        transform: resizes and crops the frames.
        check: when to test frames, states and scores for NaN: 'always', 'first' (when streams
            begin with ``state=None``) or 'never'. On a GPU a test makes the host wait.

    Attributes:
        frame_interval: frames of the source from one step to the next, as in training.
        model_id: fingerprint of the weights.
        normalization: ``mean`` and ``std`` of each channel, and ``to_rgb``, whether the channels
            are reversed first.
        num_classes: number of classes.

    Raises:
        ValueError: for another ``check``.
    """

    State: type[BaseStreamState]
    frame_interval: int
    model_id: str
    normalization: dict[str, Any]
    num_classes: int

    def __init__(self, transform: FrameTransform, check: str) -> None:
        if check not in CHECKS:
            raise ValueError(f'expected check to be one of {CHECKS}, got {check!r}')
        self.transform = transform
        self.check = check

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) of prepared frames; None if it depends on the source."""
        return self.transform.size

    def step(self, frames: Any, state: Any = None) -> tuple[Any, Any]:
        """Recognize the next frame of each stream.

        Args:
            frames: one per stream: uint8 RGB [N, H, W, 3] or N arrays [H, W, 3] of any sizes, or
                prepared ones, floating point [N, 3, h, w] (:meth:`prepare`).
            state: the streams before this frame; None begins new ones. It is left as it is.

        Returns:
            Scores [N, classes], probabilities for a head with ``average_clips='prob'``; and the
            state after this frame.

        Raises:
            ValueError: for other frames, for a state of another model, frame size or number of
                streams, and for NaN in one of them.
        """
        scores, state = self._run(self.prepare(frames)[:, :, None], state)
        return scores[:, 0], state

    def steps(self, chunk: Any, state: Any = None) -> tuple[Any, Any]:
        """Recognize the next T frames of each stream.

        Args:
            chunk: uint8 RGB [N, T, H, W, 3] or N arrays [T, H, W, 3], or prepared frames,
                floating point [N, 3, T, h, w].
            state: see :meth:`step`.

        Returns:
            Scores after each frame [N, T, classes], and the state after the last one.

        Raises:
            ValueError: see :meth:`step`.
        """
        if self._is_prepared(chunk):
            return self._run(self._prepared(chunk, 'N3Thw'), state)
        lengths = sorted({len(stream) for stream in chunk})
        if len(lengths) != 1 or lengths == [0]:
            raise ValueError(
                f'expected the same number of frames of each stream, at least 1, got {lengths}'
            )
        x = self.prepare([frame for stream in chunk for frame in stream])  # [N*T, 3, h, w]
        return self._run(x.reshape(len(chunk), -1, *x.shape[1:]).swapaxes(1, 2), state)

    def prepare(self, frames: Any) -> Any:
        """Resize, crop and normalize frames as the config's test pipeline does.

        Args:
            frames: see :meth:`step`; prepared ones are only converted to float32.

        Returns:
            float32 [N, 3, h, w].

        Raises:
            ValueError: for other frames, or frames of several sizes after the pipeline.
        """
        if self._is_prepared(frames):
            return self._prepared(frames, 'N3hw')
        images = [self.transform(np.asarray(frame)) for frame in frames]
        if not images:
            raise ValueError('expected at least one frame, got no frames')
        sizes = sorted({image.shape[:2] for image in images})
        size = self.frame_size or sizes[0]
        if sizes != [size]:
            raise ValueError(
                f'expected prepared frames of one size for one batch, {size}, got {sizes}; fix: '
                'use a CenterCrop in the test pipeline, or one state per stream'
            )
        return self._normalize(images)

    def init_state(self, batch: int = 1, frame_size: tuple[int, int] | None = None) -> Any:
        """Create the state of streams before their first frame, such as to join them to others.

        Args:
            batch: number of streams.
            frame_size: (height, width) of prepared frames, where the test pipeline leaves it to
                the source.

        Returns:
            Zeros.

        Raises:
            ValueError: if the size is unknown, or the model has another one.
        """
        size = frame_size or self.frame_size
        if size is None:
            raise ValueError(
                'expected frame_size=(height, width), got None; the test pipeline leaves the size '
                'of frames to the source'
            )
        zeros = {
            name: self._zeros((batch, *shape), dtype)
            for name, (shape, dtype) in self._layout(tuple(size)).items()
        }
        return self.State(zeros, self.model_id)

    def reset(self, state: Any, mask: Any) -> Any:
        """Return a state in which some streams start over, see :meth:`StreamState.reset`."""
        return state.reset(mask)

    def _run(self, x: Any, state: Any) -> tuple[Any, Any]:
        begins, size = state is None, tuple(x.shape[3:])
        if begins:
            state = self.init_state(len(x), size)
        else:
            check_state(state, self.State, self.model_id, len(x), self._layout(size))
        scores, tensors = self._scores(x, state.tensors)
        if self.check == 'always' or (self.check == 'first' and begins):
            # Scores alone do not tell: oneDNN's fused ReLU6 turns NaN of a frame into a number.
            check_finite(
                self.State.xp, state=list(state.tensors.values()), frames=[x], scores=[scores]
            )
        return scores, self.State(tensors, self.model_id)

    def _prepared(self, x: Any, dims: str) -> Any:
        if x.ndim != len(dims) or x.shape[1] != 3:
            raise ValueError(
                f'expected prepared frames, floating point [{", ".join(dims)}], got {list(x.shape)}'
            )
        return self._float(x)

    def _is_prepared(self, frames: Any) -> bool:
        """Whether ``frames`` is a floating point array of the library."""
        raise NotImplementedError

    def _float(self, x: Any) -> Any:
        """Convert prepared frames to float32 on the model's device."""
        raise NotImplementedError

    def _normalize(self, images: list[np.ndarray]) -> Any:
        """Normalize N images, uint8 [h, w, 3], to float32 [N, 3, h, w]."""
        raise NotImplementedError

    def _zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        raise NotImplementedError

    def _layout(self, size: tuple[int, int]) -> Layout:
        """Return the layout of a state for prepared frames of (height, width)."""
        raise NotImplementedError

    def _scores(self, x: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Run on frames [N, 3, T, h, w]; return scores [N, T, classes] and the state after."""
        raise NotImplementedError
