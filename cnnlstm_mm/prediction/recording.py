"""Frames of a camera or another address, as a clip of a data set."""

from typing import Any

import cv2
import numpy as np

from cnnlstm_mm.config import type_name
from cnnlstm_mm.datasets.path_decord_init import DECODES, INITS
from cnnlstm_mm.streaming.captures import is_device
from cnnlstm_mm.streaming.source import VideoSource

SHORT_SIDE = 340  # pixels; larger frames are reduced, so that they fit into memory
RETRIES = 2


def is_address(name: str) -> bool:
    """Whether a name is an address, a device or a webcam's number, and no file."""
    return '://' in name or is_device(name) or name.isdigit()


class Record:
    """A pipeline's first transform: record an address; ``array`` [T, H, W, 3], RGB.

    Args:
        seconds: How long.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``array`` and ``total_frames``."""
        frames: list[np.ndarray] = []
        with VideoSource(results['address'], retries=RETRIES) as source:
            for frame in source:
                if frame.time > self.seconds:
                    break
                frames.append(_reduced(frame.image, frames))
        if not frames:
            raise ValueError(f'no frame within {self.seconds:g} s')
        return dict(results, array=np.stack(frames), total_frames=len(frames), start_index=0)


def recording_pipeline(pipeline: list[Any], seconds: float) -> list[Any]:
    """A test pipeline that records an address instead of opening a file."""
    kept = [t for t in pipeline if type_name(t) not in INITS]
    decodes = (*DECODES, 'DecordDecode', 'RawFrameDecode')
    return [
        Record(seconds),
        *(dict(type='ArrayDecode') if type_name(t) in decodes else t for t in kept),
    ]


def _reduced(image: np.ndarray, before: list[np.ndarray]) -> np.ndarray:
    """RGB of the size of the frames before."""
    height, width = image.shape[:2]
    factor = min(1.0, SHORT_SIDE / min(height, width))
    size = (round(width * factor), round(height * factor))
    if before:
        size = before[0].shape[1::-1]
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
