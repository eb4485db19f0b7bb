"""Random access to the frames of a video file, exact in any order of reading."""

import os.path as osp
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from .decoder_guard import warn_once
from .edit_list import shown_until

# Containers whose header holds the number of frames; elsewhere OpenCV's is an estimate.
COUNTED = ('.avi', '.mp4', '.m4v', '.mov')
# decord 0.6.0 seeks to the frame in these. Elsewhere (.avi and .mpg with B-frames, .ts, HEVC
# with open GOPs) it was seen to be off by 1 to 96 frames, depending on what was read before.
EXACT_CONTAINERS = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.flv')
EXACT_CODECS = ('h264', 'avc1', 'VP80', 'VP90', 'MJPG')
CHUNK = 16  # frames that decord decodes together, of a file read from its start


class Frames(np.ndarray):
    """Frames, uint8 RGB [T, H, W, 3], with the method that users of decord call."""

    def asnumpy(self) -> np.ndarray:
        """A plain array of the frames."""
        return self.view(np.ndarray)


class VideoReader:
    """decord's reader, which reads from the first frame on where decord cannot seek exactly.

    These are read in order, by OpenCV (twice as fast) or, where OpenCV gives one picture and
    decord another (OpenCV 5.0 cannot convert interlaced video), by decord:

    - containers and codecs outside ``EXACT_CONTAINERS`` and ``EXACT_CODECS``;
    - clips that were cut without re-encoding: decord counts the frames outside of the
      cut, which no player shows, and gives others in their place;
    - clips of which decord gives two equal frames, as it does instead of an error;
    - what decord is missing for, cannot open or cannot decode, such as frames 48 or 72 pixels
      wide (logged once).

    A few frames fewer than promised are usual (UCF101 has such clips); the last one then stands
    for them.

    Args:
        filename: A local file.
        num_threads: Of the decoder; 0 for as many as it likes.
        min_share: Least share of the promised frames that the file must hold.

    Raises:
        ValueError: If the file has no frames, or fewer than ``min_share`` of those promised;
            on reading, too.
    """

    def __init__(self, filename: str, num_threads: int = 1, min_share: float = 0.9) -> None:
        if not osp.getsize(filename):
            raise ValueError('the file has 0 bytes')
        self.filename, self.num_threads, self.min_share = filename, num_threads, min_share
        suffix = osp.splitext(filename)[1].lower()
        capture = self._open_opencv()
        promised = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0) if suffix in COUNTED else 0
        fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        codec = fourcc.to_bytes(4, 'little').decode('latin1')
        self._error: Exception | None = None
        self._decord = self._open_decord()
        hidden = 0
        if self._decord is None:
            packets = self._count(capture) if self._error or not promised else promised
            self._fps = capture.get(cv2.CAP_PROP_FPS)
        else:
            packets, self._fps = len(self._decord), self._decord.get_avg_fps()
            starts = self._decord.get_frame_timestamp(range(packets))[:, 0]
            # Frames before a cut have negative times; a missing time is about -4e17.
            late = starts > shown_until(filename) - 1e-3
            hidden = int((((starts < 0) & (starts > -1e9)) | late).sum())
        if not packets:
            raise self._error or ValueError('the file has no frames')
        if packets < min_share * promised:
            raise ValueError(f'the file ends early: {packets} frames of the {promised} promised')
        self.frames = packets - hidden
        self._seeks = not hidden and suffix in EXACT_CONTAINERS and codec in EXACT_CODECS

    def __len__(self) -> int:
        return self.frames

    def get_avg_fps(self) -> float:
        """Frames a second, on average."""
        return self._fps

    def get_batch(self, indices: Sequence[int]) -> Frames:
        """Read frames by index, in any order.

        Raises:
            IndexError: If an index is out of range.
            ValueError: If the file ends before ``min_share`` of its frames, or before the
                second of the frames asked for.
        """
        wanted, order = np.unique(np.asarray(indices, int), return_inverse=True)
        if not 0 <= wanted[0] <= wanted[-1] < self.frames:
            raise IndexError(
                f'expected indices of {self.frames} frames, got {wanted[0]} to {wanted[-1]}'
            )
        frames: Any = self._by_decord(wanted) if self._seeks else None
        if frames is None or any(np.array_equal(one, two) for one, two in pairwise(frames)):
            frames = self._by_opencv(wanted)
            if self._error is not None:
                reason = (str(self._error).strip().splitlines() or [repr(self._error)])[-1]
                warn_once(
                    'opencv_for_decord',
                    f'{self.filename} and maybe others: decord cannot read it ({reason}), '
                    'OpenCV does.',
                )
        return np.asarray(frames)[order.ravel()].view(Frames)

    def seek(self, index: int) -> None:
        """Set the frame of :meth:`next`."""
        self._next = index

    def next(self) -> Frames:
        """The frame of :meth:`seek`, [H, W, 3]."""
        return self.get_batch([self._next])[0]

    def _open_opencv(self) -> cv2.VideoCapture:
        return cv2.VideoCapture(
            self.filename, cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, self.num_threads]
        )

    def _open_decord(self) -> Any:
        try:
            import decord
        except ImportError:
            return None
        try:
            return decord.VideoReader(self.filename, num_threads=self.num_threads)
        except Exception as error:
            self._error = error
            return None

    @staticmethod
    def _count(capture: cv2.VideoCapture) -> int:
        frames = 0
        while capture.grab():
            frames += 1
        return frames

    def _by_decord(self, wanted: Any) -> np.ndarray | None:
        if self._decord is None:
            return None
        try:
            return self._decord.get_batch(wanted).asnumpy()
        except Exception as error:
            self._decord, self._error = None, error
            return None

    def _by_opencv(self, wanted: np.ndarray) -> list[np.ndarray]:
        capture, count = self._open_opencv(), 0
        stop = max(wanted[-1], 1) + 1
        read: dict[int, np.ndarray] = {}
        while count < stop and capture.grab():
            if count in (0, stop - 1) or count in wanted:
                read[count] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            count += 1
        if read and np.array_equal(read[0], read[max(read)]) and self._differs(read[0]):
            return self._in_order(wanted)
        frames = [read[index] for index in wanted if index in read]
        if len(frames) == len(wanted):
            return frames
        if count < max(self.min_share * self.frames, 1):
            raise ValueError(f'the file ends early: {count} frames of the {self.frames} promised')
        if len(wanted) > 1 and wanted[0] >= count - 1:
            raise ValueError(f'frames {wanted[0]} to {wanted[-1]} lie beyond its last, {count - 1}')
        kept = np.unique(np.minimum(wanted, count - 1))
        frames = self._by_opencv(kept)
        return frames + frames[-1:] * (len(wanted) - len(kept))

    def _differs(self, first: np.ndarray) -> bool:
        """Compare with decord's first frame; 10-bit video differs by the dithering alone."""
        other = self._by_decord([0])
        if other is None:
            return False
        return other[0].shape != first.shape or cv2.absdiff(other[0], first).mean() > 16

    def _in_order(self, wanted: np.ndarray) -> list[np.ndarray]:
        reader, frames = self._open_decord(), []
        for start in range(0, wanted[-1] + 1, CHUNK):
            stop = min(start + CHUNK, wanted[-1] + 1)
            chunk = reader.get_batch(range(start, stop)).asnumpy()
            frames += [chunk[index - start] for index in wanted if start <= index < stop]
        return frames
