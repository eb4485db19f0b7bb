"""Several sources in one batch."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np

from .base_recognizer import BaseStreamingRecognizer
from .captures import SourceError
from .source import Frame, VideoSource

LOGGER = logging.getLogger(__name__)
PAUSE = 0.005  # seconds between two looks at sources that have nothing
IDLE = 0.2  # seconds without a frame after which an empty batch is given


class SourceGroup:
    """Iterate over what several sources have, {number of the source: frame}.

    Each live source gives its newest frame, if there is one, and each file its next. Where nothing
    comes for 0.2 s there is an empty batch. A source that fails is logged and left out; if all do,
    the last error is raised.

    Args:
        sources: entered and left with the group.

    Attributes:
        stopped (bool): whether :meth:`stop` was called.
        failed (dict): errors by the numbers of the sources.
    """

    def __init__(self, sources: Sequence[VideoSource]) -> None:
        self.sources = list(sources)
        self.failed: dict[int, SourceError] = {}
        self.stopped = False

    def __enter__(self) -> 'SourceGroup':
        with ExitStack() as stack:
            for source in self.sources:
                stack.enter_context(source)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        for source in self.sources:
            source.stop()
        self._stack.__exit__(*error)

    def stop(self) -> None:
        """End the iteration before its next batch; safe in a signal handler."""
        self.stopped = True

    def __iter__(self) -> Iterator[dict[int, Frame]]:
        latest = time.monotonic()
        while not self.stopped:
            batch = {}
            for number, source in enumerate(self.sources):
                frame = None if source.over else self._poll(number, source)
                if frame is not None:
                    batch[number] = frame
            if batch or time.monotonic() - latest > IDLE:
                latest = time.monotonic()
                yield batch
            elif all(source.over for source in self.sources):
                break
            else:
                time.sleep(PAUSE)
        if self.failed and len(self.failed) == len(self.sources):
            raise self.failed.popitem()[1]

    def _poll(self, number: int, source: VideoSource) -> Frame | None:
        try:
            return source.poll(0 if source.live else PAUSE)
        except SourceError as error:
            self.failed[number] = error
            if len(self.sources) > 1:
                LOGGER.warning('%s', error)
            return None


class StreamBatch:
    """Scores of streams that come and go; all that have a frame share a batch.

    Args:
        rec: the recognizer.
    """

    def __init__(self, rec: BaseStreamingRecognizer) -> None:
        self.rec = rec
        # Of each stream: its session and frame size, within which its state belongs, and its state.
        self._streams: dict[int, tuple[Any, Any]] = {}

    def reset(self, number: int) -> None:
        """Let a stream start over with its next frame."""
        self._streams.pop(number, None)

    def step(self, frames: dict[int, Frame]) -> dict[int, Any]:
        """Recognize a frame of some of the streams.

        A stream starts over with another session, and with another size of prepared frames.

        Args:
            frames: by the number of the stream.

        Returns:
            Scores [classes] by the number of the stream.
        """
        groups: dict[Any, dict[int, Any]] = {}
        for number, frame in frames.items():
            x = self.rec.prepare([cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)])
            groups.setdefault(tuple(x.shape[2:]), {})[number] = x
        scores = {}
        for size, members in groups.items():
            states = []
            for number in members:
                part, state = self._streams.get(number, (None, None))
                if part != (frames[number].session, size):
                    state = self.rec.init_state(1, size)
                states.append(state)
            x = self.rec.State.xp.concatenate(list(members.values()))
            found, after = self.rec.step(x, self.rec.State.cat(states))
            for row, number in enumerate(members):
                scores[number] = found[row]
                part = (frames[number].session, size)
                self._streams[number] = part, after.select(np.array([row]))
        return scores
