"""Frames of a file, a webcam or a network stream, read in a thread."""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

import cv2
import numpy as np

from .captures import SourceError, is_live, mask_password, open_capture

SILENCE = 1.0  # seconds without a frame after which a live source counts as silent
PAUSE, LONGEST_PAUSE = 0.5, 5.0  # seconds before the first and before later tries to reopen
PATIENCE = 1.0  # seconds that the end of an iteration waits for a read that does not return
LOGGER = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame of a source.

    Attributes:
        image: BGR, uint8 [H, W, 3].
        index: its number in the source, from 0.
        time: seconds: the frame's own time stamp in a file, since the start of a live source.
        arrived: ``time.perf_counter()`` when a live source gave it, or when it was taken from a
            file.
        session: how often the source was lost before.
    """

    image: np.ndarray
    index: int
    time: float
    arrived: float
    session: int


class SourceState(Enum):
    """State of a source: a live one is SILENT while it is open and gives no frame."""

    CONNECTING = 'connecting'
    SILENT = 'silent'
    STREAMING = 'streaming'
    LOST = 'lost'
    ENDED = 'ended'


class VideoSource:
    """Iterate over the frames of a file or of a live source.

    A file gives all its frames. A live one never waits: of the frames that came while the last one
    was worked on, only the newest is given, and ``dropped`` counts the others. A live source that
    is lost, or silent for ``timeout``, is opened again. Losses are logged, without passwords.

    ::

        with VideoSource('rtsp://camera/stream', every=2) as source:
            for frame in source:
                ...

    Args:
        source: a path (of a file, a folder of pictures, a pipe, or a device such as /dev/video0),
            '-' for standard input, a webcam's number, or an address.
        every: give only every n-th frame; the others are neither decoded nor counted as
            dropped.
        live: whether the source is live; None: webcams, devices and addresses are, except HTTP
            addresses of a video of known length.
        retries: how many times in a row a lost source is opened again without getting a frame,
            after 0.5 s at first, then up to 5 s.
        fps: frames per second of a folder of pictures, and of files without time stamps; None for
            what the source declares, else 25.
        timeout: seconds to open an address, and to get its next frame, before it counts as lost.

    Attributes:
        fps (float): frames per second.
        frames (int): its length, 0 if unknown.
        name (str): the source without its password.
        dropped (int): frames that came too fast for a live source.
        reconnects (int): how often it gave frames again after a loss.
        over (bool): whether all frames have been taken.

    Raises:
        SourceError: if it cannot be opened, and during iteration if a live source is lost for
            good or gives no frame, or a file holds none.
        ValueError: if ``every``, ``fps`` or ``timeout`` is out of range.
    """

    def __init__(
        self,
        source: str | int,
        every: int = 1,
        live: bool | None = None,
        retries: int = 10,
        fps: float | None = None,
        timeout: float = 5.0,
    ) -> None:
        if every < 1:
            raise ValueError(f'expected every to be at least 1, got {every}')
        if fps is not None and not 0 < fps < 1000:
            raise ValueError(f'expected fps to be above 0 and below 1000, got {fps}')
        if not 0 < timeout < 1e6:
            raise ValueError(f'expected timeout to be above 0 seconds, got {timeout}')
        text = str(source)
        self.name = mask_password(text)
        self._address = int(text) if text.isdigit() else text
        self.every = every
        self.timeout = timeout
        self.retries = retries
        self.dropped = self.reconnects = 0
        self._state, self._latest = SourceState.CONNECTING, time.monotonic()
        self._reopened, self._failures = False, 0
        self._capture = self._open()
        self.fps = fps or self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < self.fps < 1000:
            self.fps = 25.0
        self.frames = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        if live is None:
            live = is_live(self._address) and not (self.frames and text.startswith('http'))
        self.live = live
        if live:
            self.frames = 0
        self._queue: queue.Queue = queue.Queue(1 if self.live else 8)
        self._stop = threading.Event()
        self.stopped = self.over = False
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def state(self) -> SourceState:
        """Current state; SILENT after a second without a frame."""
        quiet = self.live and time.monotonic() - self._latest > SILENCE
        if self._state is SourceState.STREAMING and quiet:
            return SourceState.SILENT
        return self._state

    def stop(self) -> None:
        """End the iteration before its next frame; safe in a signal handler."""
        self.stopped = True

    def __enter__(self) -> 'VideoSource':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        deadline = time.monotonic() + PATIENCE  # a pipe can block the thread for ever
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._take_nowait()  # it may wait for room
            self._thread.join(0.05)
        self._state = SourceState.ENDED

    def __iter__(self) -> Iterator[Frame]:
        while not (self.stopped or self.over):
            frame = self.poll(0.1)
            if frame is not None:
                yield frame

    def poll(self, timeout: float = 0.0) -> Frame | None:
        """Take the next frame; None if none came within ``timeout`` seconds or none will come.

        Raises:
            SourceError: see the class; ``over`` is then True, as at the end.
        """
        try:
            item = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, Frame):
            return item if self.live else item._replace(arrived=time.perf_counter())
        self.over = True
        if isinstance(item, Exception):
            raise item
        return None

    def _open(self) -> Any:
        self._state = SourceState.CONNECTING
        capture = open_capture(self._address, self.timeout)
        self._state = SourceState.SILENT
        return capture

    def _read(self) -> None:
        try:
            self._read_all()
        except Exception as error:  # the other thread raises it
            self._put(error)
        finally:
            self._capture.release()

    def _read_all(self) -> None:
        index, start, seconds = 0, time.perf_counter(), 0.0
        while not self._stop.is_set():
            if not self._capture.grab():
                if self.live:
                    self._reconnect(index)
                    continue
                if index == 0:
                    raise SourceError(
                        f'expected a video, got {self.name}, which holds no frame that can be '
                        'decoded; fix: check that it is whole, and move the index of an .mp4 at '
                        'an address to its front (ffmpeg -movflags +faststart)'
                    )
                self._state = SourceState.ENDED
                return self._put(None)
            self._latest = time.monotonic()
            if self._state is not SourceState.STREAMING:
                self._begin_session()
            if not self.live:
                stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
                # A later frame without a later time stamp has none; a cut file begins below 0.
                seconds = stamp if stamp > seconds else seconds + (index > 0) / self.fps
            if index % self.every == 0:
                ok, image = self._capture.retrieve()
                if ok:
                    now = time.perf_counter()
                    seconds = now - start if self.live else seconds
                    self._put(Frame(image, index, seconds, now, self.reconnects))
            index += 1

    def _begin_session(self) -> None:
        self._state, self._failures = SourceState.STREAMING, 0
        if self._reopened:
            self._reopened = False
            self.reconnects += 1
            LOGGER.warning('%s: streaming again', self.name)

    def _reconnect(self, frames: int) -> None:
        self._capture.release()
        what = f'lost after {frames} frames' if frames else 'open, but without a frame'
        while not self._stop.is_set():
            self._state = SourceState.LOST
            if self._failures >= self.retries:
                raise SourceError(
                    f'{self.name}: {what}; expected a frame within {self.retries} tries to open '
                    'it again, got none; fix: check the source, or raise the number of retries'
                )
            pause = min(PAUSE * 2**self._failures, LONGEST_PAUSE)
            self._failures += 1
            LOGGER.warning(
                '%s: %s, try %d of %d in %g s', self.name, what, self._failures, self.retries, pause
            )
            if not self._stop.wait(pause):
                with suppress(SourceError):
                    self._capture, self._reopened = self._open(), True
                    return

    def _put(self, item: object) -> None:
        if self.live and isinstance(self._take_nowait(), Frame):
            self.dropped += 1
        while not self._stop.is_set():
            with suppress(queue.Full):
                return self._queue.put(item, timeout=0.1)

    def _take_nowait(self) -> object:
        with suppress(queue.Empty):
            return self._queue.get_nowait()
        return None
