"""Whether anything happens in a picture, told by its change: an answer that needs no class."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .source import VideoSource

SIZE, BLOCKS = 64, 8  # pixels a side of the grey picture, and blocks a side of its means
SHARE = 0.4  # of the pictures of ``hold``; half of them are doubles where a rate was doubled
LEAST, MOST, GRAIN = 0.5, 1.1, 1.25  # margins around the motion, flicker and grain of clips


class ActivityGate:
    """Tell pauses from actions by how much pictures change, within the limits of training clips.

    Two changes from the last picture are measured, in grey levels: ``motion``, the mean over 8x8
    blocks of the change of their mean, which is small where nothing moves and a sensor's noise
    averages out, and ``flicker``, the mean over 64x64 pixels. Noise has much flicker, or much more
    than motion. A picture is quiet if one of them is beyond its limit. A stream pauses while fewer
    than 40 % of the pictures of the last ``hold`` seconds show an action, so that neither doubled
    pictures nor cuts count.

    Args:
        motion: the least motion of an action.
        flicker: the most flicker of an action.
        grain: the largest ratio of flicker to motion of an action.
        hold: seconds over which pictures are counted.

    Raises:
        ValueError: for negative limits.
    """

    def __init__(self, motion: float, flicker: float, grain: float, hold: float = 0.3) -> None:
        limits = dict(motion=motion, flicker=flicker, grain=grain, hold=hold)
        if not all(limit >= 0 for limit in limits.values()):
            raise ValueError(f'expected limits of at least 0, got {limits}')
        self.motion, self.flicker, self.grain, self.hold = motion, flicker, grain, hold
        self.reset()

    @classmethod
    def read(cls, path: str | Path) -> 'ActivityGate':
        """Read the limits that ``cnnlstm-mm analysis activity`` wrote.

        Raises:
            ValueError: if the file holds something else.
        """
        try:
            limits = json.loads(Path(path).read_text(encoding='utf-8'))
            return cls(*(float(limits[name]) for name in ('motion', 'flicker', 'grain')))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'expected limits of activity in {path}, got {error!r}; fix: write it with '
                'cnnlstm-mm analysis activity'
            ) from None

    def reset(self) -> None:
        """Begin another stream."""
        self._last: np.ndarray | None = None
        self._recent: deque[tuple[float, bool]] = deque()

    def is_active(self, motion: float, flicker: float) -> bool:
        """Whether a change, see :func:`change`, is within the limits."""
        return self.motion <= motion and flicker <= min(self.flicker, self.grain * motion)

    def update(self, image: np.ndarray, time: float) -> bool:
        """Take the next picture, BGR; whether something may be happening.

        The first pictures are quiet until there is a change.

        Args:
            image: uint8 [H, W, 3].
            time: its time stamp in seconds.
        """
        small = shrink(image)
        motion, flicker = (0.0, 0.0) if self._last is None else change(self._last, small)
        self._last = small
        self._recent.append((time, self.is_active(motion, flicker)))
        while self._recent[0][0] < time - self.hold:
            self._recent.popleft()
        return bool(np.mean([active for _, active in self._recent]) >= SHARE)


def shrink(image: np.ndarray) -> np.ndarray:
    """Convert a picture to float32 grey [64, 64]."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Measure motion and flicker between two results of :func:`shrink`."""
    difference = after - before
    blocks = difference.reshape(BLOCKS, SIZE // BLOCKS, BLOCKS, SIZE // BLOCKS).mean((1, 3))
    return float(abs(blocks).mean()), float(abs(difference).mean())


def calibrate(videos: Iterable[str | Path], every: int = 1, still: float = 0.01) -> dict[str, Any]:
    """Find limits between which the pictures of training clips change.

    Args:
        videos: paths.
        every: use every n-th frame.
        still: share of changes at either side that do not count, such as doubled pictures.

    Returns:
        ``motion``, ``flicker`` and ``grain``, with a margin, and what they come from.

    Raises:
        ValueError: if the clips have no two frames.
    """
    found: list[Sequence[float]] = []
    count = 0
    for video in videos:
        count += 1
        with VideoSource(str(video), every) as source:
            last = None
            for frame in source:
                small = shrink(frame.image)
                if last is not None:
                    found.append(change(last, small))
                last = small
    if not found:
        raise ValueError('expected videos of two frames or more, got none; fix: name action clips')
    motion, flicker = np.transpose(found)
    return dict(
        motion=LEAST * float(np.quantile(motion, still)),
        flicker=MOST * float(np.quantile(flicker, 1 - still)),
        grain=GRAIN * float(np.quantile(flicker / np.maximum(motion, 1e-6), 1 - still)),
        every=every,
        videos=count,
        changes=len(found),
    )
