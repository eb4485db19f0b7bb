"""Events of several streams, sent to files, web servers and functions."""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from .event_outputs import event_message
from .events import Event, EventDetector
from .source import Frame

Message = dict[str, Any]


class EventLog:
    """Find the events of several streams; report each when it is sure, and when it has ended.

    Messages are JSON objects with ``state`` ('began' or 'ended'), ``source``, ``session``,
    ``start``, ``end`` (so far, for one that began), ``label``, ``score`` and ``timestamp``, the
    time of the message in UTC.

    Args:
        names: names of the streams.
        detector: called once a stream, makes its detector.
        ended: functions called with the messages of events that have ended.
        both: functions called with all messages.
    """

    def __init__(
        self,
        names: Sequence[str],
        detector: Callable[[], EventDetector],
        ended: Sequence[Callable[[Message], Any]] = (),
        both: Sequence[Callable[[Message], Any]] = (),
    ) -> None:
        self.names = list(names)
        self.detectors = [detector() for _ in names]
        self.ended, self.both = list(ended), list(both)
        self.count = 0
        self._sessions = [0] * len(self.names)
        self._arrived = [0.0] * len(self.names)
        self._told: list[set[tuple[float, str]]] = [set() for _ in names]

    def update(self, stream: int, scores: Any, frame: Frame) -> None:
        """Take the scores of a frame, probabilities [classes]; another session starts over."""
        if frame.session != self._sessions[stream]:
            self.finish(stream)
            self._sessions[stream] = frame.session
        detector = self.detectors[stream]
        found = detector.update(scores, frame.time)
        self._arrived[stream] = time.monotonic()
        self._tell(stream, found)

    def idle(self, stream: int) -> None:
        """End the events of a live stream that has been silent for ``longest_step``."""
        silent = time.monotonic() - self._arrived[stream]
        if self._arrived[stream] and silent > self.detectors[stream].longest_step:
            self.finish(stream)

    def finish(self, stream: int) -> None:
        """End a stream's events."""
        self._arrived[stream] = 0.0
        self._tell(stream, self.detectors[stream].finish())

    def _tell(self, stream: int, found: list[Event]) -> None:
        told = self._told[stream]
        for event in self.detectors[stream].ongoing:
            if (event.start, event.label) not in told:
                told.add((event.start, event.label))
                self._send(stream, 'began', event, self.both)
        for event in found:
            if (event.start, event.label) not in told:
                self._send(stream, 'began', event, self.both)
            told.discard((event.start, event.label))
            self.count += 1
            self._send(stream, 'ended', event, [*self.both, *self.ended])

    def _send(
        self, stream: int, state: str, event: Event, outputs: Sequence[Callable[[Message], Any]]
    ) -> None:
        message = event_message(
            event, state=state, source=self.names[stream], session=self._sessions[stream]
        )
        message['timestamp'] = datetime.now(timezone.utc).isoformat()
        for output in outputs:
            output(message)
