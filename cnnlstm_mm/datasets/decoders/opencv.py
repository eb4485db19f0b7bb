"""OpenCV: reads every file from its first frame on."""

from typing import Any

import cv2
import numpy as np

from .base import Decoder, UnreadableError, check_upright, plausible, stack
from .video_track import video_track

# Containers whose header holds the number of frames; elsewhere OpenCV's is an estimate.
COUNTED = ('.avi', '.mp4', '.m4v', '.mov')


class OpenCVDecoder(Decoder):
    """``cv2.VideoCapture`` with FFmpeg inside, in order: its seeking is not exact."""

    name = 'opencv'

    def __init__(self, filename: str, num_threads: int = 1) -> None:
        self.filename, self.num_threads = filename, num_threads
        capture = capture_of(filename, num_threads)
        if not capture.isOpened():
            raise UnreadableError('OpenCV cannot open it')
        track = video_track(filename)
        check_upright(track, 'OpenCV')
        self.fps = plausible(capture.get(cv2.CAP_PROP_FPS))
        self.packets = promised_frames(filename, capture)
        if not self.packets or track.hides:
            self.frames = 0
            while capture.grab():
                self.frames += 1
            self.packets = max(self.packets, self.frames)
            if not self.frames:
                raise UnreadableError('OpenCV decodes no frame')
        else:
            self.frames = self.packets

    def get(self, indices: np.ndarray) -> np.ndarray:
        """See :meth:`Decoder.get`."""
        capture = capture_of(self.filename, self.num_threads)
        chosen, stop, place = set(indices.tolist()), max(int(indices[-1]), 1) + 1, 0
        first: Any = None
        last: Any = None
        read: dict[int, np.ndarray] = {}
        while place < stop and capture.grab():
            if place in chosen or place in (0, stop - 1):
                there, picture = capture.retrieve()
                if not there:
                    raise UnreadableError(f'OpenCV cannot convert frame {place}')
                last = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                if place == 0:
                    first = last
                if place in chosen:
                    read[place] = last
            place += 1
        if not place:
            raise UnreadableError('OpenCV decodes no frame')
        self.doubtful = place > 1 and np.array_equal(first, last)
        if self.doubtful and not self._converts(first):
            raise UnreadableError('OpenCV cannot convert its pictures')
        if place < stop:
            self.frames = min(self.frames, place)
        return stack(read, indices)

    def _converts(self, first: np.ndarray) -> bool:
        """Compare with the luma plane: OpenCV 5.0 gives memory as it is for interlaced video."""
        capture = capture_of(self.filename)
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        there, luma = capture.read()
        if not there or luma.dtype != np.uint8 or luma.shape != first.shape[:2]:
            return True
        difference = cv2.absdiff(luma, cv2.cvtColor(first, cv2.COLOR_RGB2GRAY)).mean()
        return bool(luma.any() and difference < 40)


def capture_of(filename: str, num_threads: int = 1, upright: bool = True) -> cv2.VideoCapture:
    """Open a file by FFmpeg alone: other backends take a % in its name for a pattern."""
    capture = cv2.VideoCapture(filename, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, num_threads])
    if upright:  # OpenCV 4.11 leaves it out where there are options
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    return capture


def promised_frames(filename: str, capture: cv2.VideoCapture) -> int:
    """Number of frames in the header; 0 for containers that store none."""
    if not filename.lower().endswith(COUNTED):
        return 0
    return max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
