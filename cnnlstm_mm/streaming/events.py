"""Events, (start, end, class, score), from the scores of a stream.

Needs numpy alone. ``commands/web/events.js`` is the same in JavaScript.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Event(NamedTuple):
    """Something that happened in a stream.

    Attributes:
        start: seconds.
        end: seconds.
        label: name of the class.
        score: highest smoothed score.
    """

    start: float
    end: float
    label: str
    score: float


class _Run:
    """Frames at or above the low threshold, and short gaps between them."""

    def __init__(self, start: float) -> None:
        self.start, self.end, self.score = start, 0.0, -math.inf
        self.active = True


class EventDetector:
    """Find events in scores that come one frame at a time.

    A frame lasts from its time stamp to the next one; the last frame, and one before a gap of more
    than ``longest_step``, as long as the frame before it. A class is active while its smoothed
    score is at least ``low`` and that of ``none_class`` is not the highest. Its event begins with
    the first active frame, ends where it is inactive for at least ``merge_gap`` seconds, and counts
    if its score was once at least ``high`` and it lasts for ``min_length``. So an event is
    confirmed by ``high``, but begins where its class was first a candidate. What is found does not
    depend on when or in which portions scores come.

    ::

        detector = EventDetector(labels, high=0.7, low=0.3, none_class='none')
        for scores, time in stream:  # probabilities [classes], seconds
            for event in detector.update(scores, time):
                print(event)
        events = detector.finish()

    Args:
        labels: names of the classes.
        high: threshold that confirms an event, one number, or one per class.
        low: threshold at which an event begins and ends, likewise.
        smoothing: time constant in seconds of exponential smoothing; 0 for none.
        window: seconds over which scores are averaged instead; 0 for none.
        min_length: least length of an event, in seconds.
        merge_gap: seconds within which an event that begins again goes on.
        none_class: name or number of the class for "nothing is happening", which has no events;
            without it that is the answer wherever all scores are low.
        longest_step: seconds between two frames beyond which events end and smoothing starts over.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        labels: Sequence[str],
        high: float | Sequence[float] = 0.6,
        low: float | Sequence[float] = 0.3,
        smoothing: float = 0.0,
        window: float = 0.0,
        min_length: float = 0.0,
        merge_gap: float = 0.0,
        none_class: str | int | None = None,
        longest_step: float = 2.0,
    ) -> None:
        self.labels = list(labels)
        self.high, self.low = (
            np.broadcast_to(np.asarray(value, float), len(self.labels)) for value in (high, low)
        )
        if not (np.isfinite([self.high, self.low]).all() and (self.low <= self.high).all()):
            raise ValueError(f'expected low <= high, got low={low} and high={high}')
        times = dict(
            smoothing=smoothing,
            window=window,
            min_length=min_length,
            merge_gap=merge_gap,
            longest_step=longest_step,
        )
        for name, value in times.items():
            if not 0 <= value < math.inf:
                raise ValueError(f'expected {name} to be at least 0 seconds, got {value}')
        if smoothing and window:
            raise ValueError('expected smoothing or window, got both; fix: leave one at 0')
        self.smoothing, self.window = smoothing, window
        self.min_length, self.merge_gap, self.longest_step = min_length, merge_gap, longest_step
        self.none_class = None if none_class is None else class_number(none_class, self.labels)
        self._time: float | None = None
        self._step = 0.0
        self._begin()

    @property
    def ongoing(self) -> list[Event]:
        """Events that count already and have not ended; their ``end`` is that so far."""
        if self._time is None:
            return []
        return sorted(self._events(self._runs, self._time))

    def update(self, scores: Any, time: float) -> list[Event]:
        """Take the scores of the next frame.

        Args:
            scores: probabilities [classes].
            time: the frame's time stamp in seconds, not before the last one.

        Returns:
            The events that are known to have ended.

        Raises:
            ValueError: for another number of scores, for NaN, and for an earlier time.
        """
        scores = np.asarray(scores, float)
        if scores.shape != (len(self.labels),) or not np.isfinite(scores).all():
            raise ValueError(
                f'expected {len(self.labels)} finite scores, one per class, got {scores.tolist()}'
            )
        time = float(time)
        if not math.isfinite(time) or (self._time is not None and time < self._time):
            raise ValueError(
                f'expected time stamps that do not decrease, got {time} s after {self._time} s; '
                'fix: call finish() where a stream starts over'
            )
        ended: list[Event] = []
        if self._time is not None and time - self._time > self.longest_step:
            ended = self._close(self._time + self._step)
        elif self._time is not None:
            self._step = time - self._time
        smooth = self._smooth(scores, time)
        self._time = time
        active = smooth >= self.low
        if self.none_class is not None:
            active &= smooth.argmax() != self.none_class
            active[self.none_class] = False
        for k in [*self._runs]:
            run = self._runs[k]
            if run.active and not active[k]:
                run.active, run.end = False, time
            if not run.active:
                gap = time - run.end
                if gap >= self.merge_gap:
                    ended += self._events({k: self._runs.pop(k)}, time)
                elif active[k]:
                    run.active = True
        for k in np.flatnonzero(active).tolist():
            run = self._runs.setdefault(k, _Run(time))
            run.score = max(run.score, float(smooth[k]))
        return sorted(ended)

    def finish(self) -> list[Event]:
        """End the stream, and be ready for another one, which may begin at any time.

        Returns:
            The events that had not ended.
        """
        ended = [] if self._time is None else self._close(self._time + self._step)
        self._time, self._step = None, 0.0
        return sorted(ended)

    def _begin(self) -> None:
        self._runs: dict[int, _Run] = {}
        self._smoothed: np.ndarray | None = None
        self._recent: deque[tuple[float, np.ndarray]] = deque()

    def _close(self, end: float) -> list[Event]:
        ended = self._events(self._runs, end)
        self._begin()
        return ended

    def _smooth(self, scores: np.ndarray, time: float) -> np.ndarray:
        if self.window:
            self._recent.append((time, scores))
            while self._recent[0][0] <= time - self.window:
                self._recent.popleft()
            return np.mean([recent for _, recent in self._recent], axis=0)
        if self._smoothed is None or not self.smoothing:
            self._smoothed = scores
        else:
            share = -math.expm1(-(time - self._time) / self.smoothing)
            self._smoothed = self._smoothed + share * (scores - self._smoothed)
        return self._smoothed

    def _events(self, runs: dict[int, _Run], end: float) -> list[Event]:
        # Those that count; active runs last until ``end``.
        found = []
        for k, run in runs.items():
            last = end if run.active else run.end
            if run.score >= self.high[k] and last - run.start >= self.min_length:
                found.append(Event(run.start, last, self.labels[k], run.score))
        return found


def class_number(name: str | int, labels: Sequence[str]) -> int:
    """Number of a class.

    Args:
        name: Of the class, or its number, also as text.
        labels: Names of all classes.

    Raises:
        ValueError: If there is no such class.
    """
    if name in labels:
        return list(labels).index(str(name))
    if str(name).isdigit() and int(name) < len(labels):
        return int(name)
    raise ValueError(
        f'expected none_class to be one of {", ".join(labels)} or a number below {len(labels)}, '
        f'got {name!r}'
    )


def find_events(
    scores: Iterable[Any], times: Iterable[float], labels: Sequence[str], **options: Any
) -> list[Event]:
    """Find the events of a whole video.

    Args:
        scores: probabilities [T, classes].
        times: time stamps in seconds [T].
        labels: names of the classes.
        **options: of :class:`EventDetector`.

    Returns:
        In order of their start.
    """
    detector = EventDetector(labels, **options)
    found = [
        event
        for row, time in zip(scores, times, strict=True)
        for event in detector.update(row, time)
    ]
    return sorted(found + detector.finish())
