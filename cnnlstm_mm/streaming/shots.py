"""Shots of a video: cuts told by colours, and pauses, looking both ways."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np

from .activity import ActivityGate, change, shrink
from .source import Frame

BINS = 8  # of each colour channel
LEAST = 0.4  # share of the pixels that change their colour at a cut
RATIO = 3.0  # times as many as at the frames around it
AROUND = 8  # frames before a cut, and after it


class ShotFrame(NamedTuple):
    """A frame and its place.

    Attributes:
        frame: see :class:`Frame`.
        end: seconds: the time of the next frame.
        shot: number of its shot, from 0; None in a pause.
    """

    frame: Frame
    end: float
    shot: int | None


class _Change(NamedTuple):
    frame: Frame
    colours: float  # share of pixels with another colour than in the frame before
    active: bool  # whether the change is one of an action


def split_shots(frames: Iterable[Frame], limits: ActivityGate | None = None) -> Iterator[ShotFrame]:
    """Number the shots of a video, 8 frames behind it.

    A cut is where at least 40 % of the pixels change their colour (8 levels of each channel, 64x64
    pixels), three times as many as in the median of the 8 frames before and after. A pause is where
    no change of an action, as ``limits`` has it, is next to a frame, and those before and after are
    further apart than ``limits.hold``.

    Args:
        frames: in order.
        limits: of actions; None: there are no pauses.
    """
    past: deque[float] = deque(maxlen=AROUND)
    coming: deque[_Change] = deque()
    state = _Numbering(limits)
    for found in _changes(frames, limits):
        coming.append(found)
        if len(coming) > AROUND:
            yield state.decide(coming.popleft(), past, coming)
    while coming:
        yield state.decide(coming.popleft(), past, coming)


class _Numbering:
    def __init__(self, limits: ActivityGate | None) -> None:
        self.hold = None if limits is None else limits.hold
        self.shot, self.step = -1, 0.0
        self.session: int | None = None
        self.last_active, self.quiet = -np.inf, True

    def decide(self, now: _Change, past: deque[float], coming: deque[_Change]) -> ShotFrame:
        frame = now.frame
        around = [*past, *(change.colours for change in coming)]
        cut = now.colours >= max(LEAST, RATIO * float(np.median(around or [0])))
        past.append(now.colours)
        if coming:
            self.step = max(coming[0].frame.time - frame.time, 0.0)
        quiet = self._is_quiet(now, coming)
        if not quiet and (cut or self.quiet or frame.session != self.session):
            self.shot += 1
        self.quiet, self.session = quiet, frame.session
        return ShotFrame(frame, frame.time + self.step, None if quiet else self.shot)

    def _is_quiet(self, now: _Change, coming: deque[_Change]) -> bool:
        if self.hold is None:
            return False
        if now.active:
            self.last_active = now.frame.time
            return False
        after = next((change.frame.time for change in coming if change.active), np.inf)
        if coming and coming[0].active:
            return False
        return after - self.last_active > self.hold


def _changes(frames: Iterable[Frame], limits: ActivityGate | None) -> Iterator[_Change]:
    last: np.ndarray | None = None
    grey: np.ndarray | None = None
    for frame in frames:
        colours = _colours(frame.image)
        share = 1.0 if last is None else float(np.abs(colours - last).sum() / 2)
        last, active = colours, False
        if limits is not None:
            before, grey = grey, shrink(frame.image)
            active = before is not None and limits.is_active(*change(before, grey))
        yield _Change(frame, share, active)


def _colours(image: np.ndarray) -> np.ndarray:
    """Histogram of the colours, sum 1."""
    small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    found = cv2.calcHist([small], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3)
    return found / found.sum()
