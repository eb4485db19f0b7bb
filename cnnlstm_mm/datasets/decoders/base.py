"""Interface of a decoder: one open video file, read by frame index."""

import os
import weakref
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any

import numpy as np

from .video_track import VideoTrack

FPS = 25.0  # where a header has none, as players assume


class UnreadableError(RuntimeError):
    """What one decoder cannot read, or not exactly; another one may."""


class InexactError(UnreadableError):
    """A file in which a decoder cannot be sure of its frames; nothing is wrong with the file."""


class Decoder(ABC):
    """An open video file.

    Attributes:
        name: Of the decoder, as in ``decoder=`` of a config.
        frames: Frames that a player shows: those that an edit list hides do not count.
            :meth:`get` corrects it where the file ends before the number in its header.
        packets: Frames in the file, shown or hidden.
        fps: Frames a second, on average.
        doubtful: The last :meth:`get` gave equal pictures, which some decoders do instead of
            an error: ask another one.
    """

    name: str
    frames: int
    packets: int
    fps: float
    doubtful: bool = False

    @abstractmethod
    def __init__(self, filename: str, num_threads: int = 1) -> None:
        """Open a local file by its absolute path; raises any error if it cannot be read."""

    @abstractmethod
    def get(self, indices: np.ndarray) -> np.ndarray:
        """Read frames, upright as in a player.

        Args:
            indices: Increasing, each once.

        Returns:
            uint8 RGB [n, height, width, 3]; n is smaller than the number of ``indices`` if the
            file ends before the last of them.
        """


_threaded: weakref.WeakSet[Any] = weakref.WeakSet()
_inherited: list[Any] = []
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=lambda: _inherited.extend(_threaded))


def leave_to_parent(threaded: Any) -> None:
    """Keep an object of a library with threads of its own from being freed in forked processes.

    A forked process, such as a worker of a loader, has none of these threads and would wait for
    them for ever where it frees or uses what it inherited. Decoders make their own there: they
    keep the number of the process.
    """
    _threaded.add(threaded)


def check_upright(track: VideoTrack, decoder: str) -> None:
    """Raise InexactError if a file is shown mirrored, which this decoder would not do."""
    if track.mirrored:
        raise InexactError(f'{decoder} does not mirror pictures as the header asks')


def plausible(fps: float) -> float:
    """The rate of a header, or :data:`FPS` for zero, negative, infinite and absurd ones."""
    return float(fps) if 0 < fps < 1e4 else FPS


def has_twins(frames: np.ndarray) -> bool:
    """Whether two frames in a row are equal."""
    return any(np.array_equal(one, two) for one, two in pairwise(frames))


def stack(frames: dict[int, np.ndarray], indices: np.ndarray) -> np.ndarray:
    """Frames by index as one array, without those that are missing."""
    found = [frames[index] for index in indices if index in frames]
    return np.stack(found) if found else np.empty((0, 0, 0, 3), np.uint8)
