"""Opening of sources: files, folders of pictures, pipes, webcams and addresses."""

import os
import re
import select
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import cv2
import numpy as np

from cnnlstm_mm.text import natural_key
from cnnlstm_mm.video_files import PICTURES, check_name

VIDEO_FILES = ('.mp4', '.avi', '.mkv', '.mov', '.webm', '.m4v')
WEBCAM_CURE = 'check that the webcam is plugged in and free, and its name (ls /dev/video*)'

Address = str | int


class SourceError(RuntimeError):
    """A source that cannot be opened, gives no frames, or is lost for good."""


class ImageFolder:
    """The pictures of a folder by the interface of ``cv2.VideoCapture``, 2.png before 10.png.

    Raises:
        SourceError: if it holds no pictures, or later, if one of them cannot be decoded.
    """

    def __init__(self, folder: str | Path) -> None:
        files = [file for file in Path(folder).iterdir() if file.suffix.lower() in PICTURES]
        if not files:
            raise SourceError(
                f'expected a folder of pictures, got {folder}, which holds none that ends in '
                f'{", ".join(PICTURES)}; fix: name a video file, or the folder of the pictures '
                'themselves'
            )
        self.files = sorted(files, key=lambda file: natural_key(file.name))
        self.next = 0

    def isOpened(self) -> bool:  # noqa: N802
        """Whether it can be read, which the constructor has found out."""
        return True

    def grab(self) -> bool:
        """Go to the next picture."""
        self.next += 1
        return self.next <= len(self.files)

    def retrieve(self) -> tuple[bool, np.ndarray]:
        """Decode the picture, BGR."""
        file = self.files[self.next - 1]
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError(
                f'expected a picture, got {file}, which cannot be decoded; fix: '
                'remove it from the folder, or write it again'
            )
        return True, image

    def get(self, which: int) -> float:
        """The number of pictures; nothing else is known."""
        return float(len(self.files) if which == cv2.CAP_PROP_FRAME_COUNT else 0)

    def release(self) -> None:
        """Nothing is held open."""


class Pipe:
    """A ``cv2.VideoCapture`` of a pipe, whose first byte is waited for in Python.

    OpenCV would wait inside of C, where no signal ends it, and for a second writer if the first
    one left before it looked.
    """

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            while not select.select([self.handle], [], [], 0.5)[0]:
                pass
            os.set_blocking(self.handle, True)
            self.capture = cv2.VideoCapture(f'pipe:{self.handle}', cv2.CAP_FFMPEG)
        except BaseException:
            os.close(self.handle)
            raise
        for name in ('isOpened', 'grab', 'retrieve', 'get'):
            setattr(self, name, getattr(self.capture, name))

    def release(self) -> None:
        """Close the pipe."""
        self.capture.release()
        if self.handle is not None:
            os.close(self.handle)
            self.handle = None


def open_capture(address: Address, timeout: float) -> Any:
    """Open a source.

    Args:
        address: a path of a file, a folder of pictures, a pipe ('-' for standard input) or a
            device, a webcam's number, or an address. The first byte of a pipe is waited for.
        timeout: seconds to open an address, and to get its next frame.

    Returns:
        A ``cv2.VideoCapture``, or what has its methods.

    Raises:
        SourceError: if it cannot be opened, without passwords.
    """
    name = mask_password(str(address))
    try:
        check_name(str(address))
    except ValueError as error:
        raise SourceError(str(error)) from None
    cure = 'check that ffplay or VLC plays it'
    address = '/dev/stdin' if address == '-' else address
    if isinstance(address, int):
        capture, cure = cv2.VideoCapture(address), WEBCAM_CURE
    elif '://' in address:
        limit = max(1, int(1e3 * timeout))
        capture = cv2.VideoCapture(
            address,
            cv2.CAP_FFMPEG,
            [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit],
        )
    elif is_device(address):
        capture, cure = cv2.VideoCapture(address, cv2.CAP_V4L2), WEBCAM_CURE
    elif Path(address).is_fifo():
        capture = Pipe(address)
    elif Path(address).is_dir():
        capture = ImageFolder(address)
    elif Path(address).is_file():
        capture = cv2.VideoCapture(address)
    else:
        raise SourceError(
            f'expected a source, got {name}, which does not exist; fix: name a video file, a '
            'folder of pictures, a pipe, a webcam (0, /dev/video0), or an address such as '
            'rtsp://user:password@host/stream or http://host/video'
        )
    if not capture.isOpened():
        capture.release()
        raise SourceError(f'cannot open {name}; fix: {cure}')
    return capture


def is_live(address: Address) -> bool:
    """Whether frames come at their own pace: webcams, devices, RTSP and HTTP streams.

    Args:
        address: see :func:`open_capture`.

    Returns:
        False for files, folders and pipes, and for HTTP addresses that end as a video file does.
    """
    if isinstance(address, int) or is_device(address):
        return True
    url = urlparse(address)
    if '://' not in address or url.scheme == 'file':
        return False
    return not (url.scheme in ('http', 'https') and url.path.lower().endswith(VIDEO_FILES))


def mask_password(text: str) -> str:
    """Replace passwords and keys in addresses, user:password@host and password=..., by ``***``.

    Of a password with an @ or / in it nothing is left; then the host can be lost as well.
    """
    text = re.sub(r'(\w+://[^\s:/]*):\S*@', r'\1:***@', text)
    return re.sub(r'(?i)((?:pass(?:word|wd)?|pwd|token|key|secret)=)[^&#\s]+', r'\1***', text)


def is_device(address: str) -> bool:
    """Whether a path is a character device, or would be one if it were there."""
    return address.startswith(('/dev/video', '/dev/v4l/')) or Path(address).is_char_device()
