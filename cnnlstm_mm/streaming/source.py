"""Frames of a file, a webcam or an address, read in a thread."""

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

import cv2
import numpy as np

TIMEOUT = 5.0  # seconds, to open an address or to get its next frame
VIDEO_FILES = ('.mp4', '.avi', '.mkv', '.mov', '.webm', '.m4v')


class Frame(NamedTuple):
    """A frame of a source.

    Attributes:
        image (ndarray): BGR, uint8 [H, W, 3].
        index (int): Its number in the source, from 0.
        time (float): Seconds, in the video of a file, since the start of a
            live source.
        arrived (float): ``time.perf_counter()`` when a live source gave it,
            or when it was taken from a file.
        session (int): How often the source was lost before.
    """

    image: np.ndarray
    index: int
    time: float
    arrived: float
    session: int


class SourceError(RuntimeError):
    """A source that cannot be opened, or is lost for good."""


class VideoSource:
    """Iterate over the frames of a file or of a live source.

    A file gives all its frames. A live one never waits: of the frames that
    came while the last one was worked on, only the newest is given, and
    ``dropped`` counts the others. A live source that ends is opened again.

    ::

        with VideoSource('rtsp://camera/stream', every=2) as source:
            for frame in source:
                ...

    Args:
        source (str or int): A path, a webcam's number, or an address.
        every (int): Give every so many frames only; the others are neither
            decoded nor counted as dropped. Defaults to 1.
        live (bool, optional): Defaults to None: webcams and addresses are
            live, but for an HTTP address of a video file.
        retries (int): How often in a row to try to open a lost source again,
            after 0.5 s at first, then up to 5 s. Defaults to 10.

    Attributes:
        fps (float): Frames a second that the source says it has, else 25.
        frames (int): How many it has, 0 if unknown.
        dropped (int): Frames that came too fast for a live source.
        reconnects (int): How often it was opened again.

    Raises:
        SourceError: If it cannot be opened, and during iteration if a live
            source is lost for good or a file is damaged.
    """

    def __init__(
        self, source: str | int, every: int = 1, live: bool | None = None, retries: int = 10
    ) -> None:
        if every < 1:
            raise ValueError(f'every must be at least 1, got {every}')
        text = str(source)
        self.name = text
        self.address = int(text) if text.isdigit() else text
        self.live = is_live(self.address) if live is None else live
        self.every = every
        self.retries = retries
        self.dropped = self.reconnects = 0
        self._capture = self._open()
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if not 0 < self.fps < 1000:
            self.fps = 25.0
        self.frames = 0 if self.live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._queue: queue.Queue = queue.Queue(1 if self.live else 8)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> 'VideoSource':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        while self._thread.is_alive():
            self._take_nowait()  # it may wait for room
            self._thread.join(0.05)
        self._capture.release()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, Exception):
                raise item
            if not self.live:
                item = item._replace(arrived=time.perf_counter())
            yield item

    def _open(self) -> cv2.VideoCapture:
        if isinstance(self.address, int):
            capture = cv2.VideoCapture(self.address)
        elif '://' in self.address:
            limit = int(1e3 * TIMEOUT)
            capture = cv2.VideoCapture(
                self.address,
                cv2.CAP_FFMPEG,
                [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit],
            )
        else:
            if not Path(self.address).is_file():
                raise SourceError(
                    f'{self.address} is not there. A source is a video file, '
                    'the number of a webcam (0), or an address such as '
                    'rtsp://user:password@host/stream or http://host/video.'
                )
            capture = cv2.VideoCapture(self.address)
        if not capture.isOpened():
            capture.release()
            cure = 'Does ffplay or VLC play it?'
            if isinstance(self.address, int):
                cure = 'Is the webcam plugged in, free, and its number right (ls /dev/video*)?'
            raise SourceError(f'cannot open {self.name}. {cure}')
        return capture

    def _read(self) -> None:
        try:
            self._read_all()
        except Exception as error:  # the other thread raises it
            self._put(error)

    def _read_all(self) -> None:
        index, start = 0, time.perf_counter()
        while not self._stop.is_set():
            if not self._capture.grab():
                if not self.live:
                    self._end_of_file(index)
                    return
                self._reconnect()
                continue
            if index % self.every == 0:
                ok, image = self._capture.retrieve()
                if ok:
                    now = time.perf_counter()
                    self._put(
                        Frame(
                            image,
                            index,
                            now - start if self.live else index / self.fps,
                            now,
                            self.reconnects,
                        )
                    )
            index += 1

    def _end_of_file(self, frames: int) -> None:
        if frames == 0:
            raise SourceError(
                f'{self.name} holds no frame that can be decoded: is it a video, and whole?'
            )
        self._put(None)

    def _reconnect(self) -> None:
        self._capture.release()
        pause = 0.5
        for _ in range(self.retries):
            if self._stop.wait(pause):
                return
            try:
                self._capture = self._open()
            except SourceError:
                pause = min(2 * pause, 5.0)
                continue
            self.reconnects += 1
            return
        raise SourceError(
            f'{self.name} was lost, and could not be opened again in {self.retries} tries.'
        )

    def _put(self, item: object) -> None:
        if self.live and isinstance(self._take_nowait(), Frame):
            self.dropped += 1
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _take_nowait(self) -> object:
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None


def is_live(address: str | int) -> bool:
    """Whether frames come at their own pace: webcams, RTSP, HTTP streams.

    Args:
        address (str or int): A path, a webcam's number, or an address.

    Returns:
        bool: False for files, also for those at an HTTP address.
    """
    if isinstance(address, int):
        return True
    url = urlparse(address)
    if '://' not in address or url.scheme == 'file':
        return False
    return not (url.scheme in ('http', 'https') and url.path.lower().endswith(VIDEO_FILES))
