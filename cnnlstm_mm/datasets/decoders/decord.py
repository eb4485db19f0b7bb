"""decord 0.6 and its successor decord2, which installs a module of the same name."""

import os
import os.path as osp
from typing import Any

import cv2
import numpy as np

from .base import Decoder, InexactError, check_upright, has_twins, leave_to_parent, plausible
from .opencv import capture_of
from .video_track import video_track

# decord seeks to the frame in these. Elsewhere (.avi and .mpg with B-frames, .ts, H.264 and HEVC
# with open GOPs) it was seen to be off by 1 to 96 frames, depending on what was read before.
MOVIES = ('.mp4', '.m4v', '.mov')
EXACT_CONTAINERS = (*MOVIES, '.mkv', '.webm')
EXACT_CODECS = ('VP80', 'VP90', 'MJPG')
H264 = ('h264', 'avc1')  # where the header says that all GOPs are closed
# From the first frame on; in .ts it leaves out the first ones.
IN_ORDER = (*EXACT_CONTAINERS, '.avi', '.mpg', '.mpeg', '.flv')
CHUNK = 16  # frames that are decoded together, of a file read from its start


class DecordDecoder(Decoder):
    """``decord.VideoReader`` for the containers and codecs in which it seeks exactly."""

    name = 'decord'
    seeks = True

    def __init__(self, filename: str, num_threads: int = 1) -> None:
        self.filename, self.num_threads = filename, num_threads
        track = video_track(filename)
        check_upright(track, 'decord')
        suffix, codec = osp.splitext(filename)[1].lower(), codec_of(filename)
        if suffix not in MOVIES and _turned(filename):
            raise InexactError(f'decord does not rotate {suffix}')
        closed = codec in EXACT_CODECS or (codec in H264 and track.closed)
        if self.seeks and (suffix not in EXACT_CONTAINERS or not closed):
            raise InexactError(f'decord does not seek exactly in this {suffix} of {codec!r}')
        if suffix not in IN_ORDER:
            raise InexactError(f'decord leaves out the first frames of {suffix}')
        self._reader = self._open()
        self.packets, self.fps = len(self._reader), plausible(self._reader.get_avg_fps())
        starts = self._reader.get_frame_timestamp(range(self.packets))[:, 0]
        # Frames before a cut have negative times; a missing time is about -4e17.
        late = starts > track.end - 1e-3
        self.frames = self.packets - int((((starts < 0) & (starts > -1e9)) | late).sum())
        if self.frames < self.packets:
            raise InexactError('decord counts frames that an edit list hides')

    def get(self, indices: np.ndarray) -> np.ndarray:
        """See :meth:`Decoder.get`."""
        if self._process != os.getpid():
            self._reader = self._open()
        frames = self._reader.get_batch(indices).asnumpy()
        self.doubtful = has_twins(frames)  # it repeats a frame instead of an error
        return frames

    def _open(self) -> Any:
        import decord

        self._process = os.getpid()
        reader = decord.VideoReader(self.filename, num_threads=self.num_threads)
        leave_to_parent(reader)
        return reader


def _turned(filename: str) -> bool:
    return bool(capture_of(filename, upright=False).get(cv2.CAP_PROP_ORIENTATION_META))


def codec_of(filename: str) -> str:
    """Four characters that name the codec."""
    fourcc = int(capture_of(filename).get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return fourcc.to_bytes(4, 'little').decode('latin1')


class InOrderDecordDecoder(DecordDecoder):
    """decord from the first frame on, which is exact wherever no frame is hidden."""

    seeks = False

    def get(self, indices: np.ndarray) -> np.ndarray:
        """See :meth:`Decoder.get`."""
        reader, frames = self._open(), []
        for start in range(0, indices[-1] + 1, CHUNK):
            stop = min(start + CHUNK, indices[-1] + 1)
            chunk = reader.get_batch(range(start, stop)).asnumpy()
            frames += [chunk[index - start] for index in indices if start <= index < stop]
        self.doubtful = has_twins(np.stack(frames))
        return np.stack(frames)
