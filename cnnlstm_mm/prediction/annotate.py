"""Videos with their answers drawn on them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cnnlstm_mm.storage import atomic_path
from cnnlstm_mm.streaming.source import VideoSource
from cnnlstm_mm.streaming.video_out import VideoOut

WIDTH = 480  # pixels; narrower pictures are enlarged, so that the text can be read
LINE = 22

Lines = Callable[[float], Sequence[str]]


def lines_of_best(best: Sequence[dict[str, Any]]) -> Lines:
    """The classes of a file, on all of its frames."""
    lines = [f'{one["class"]}  {100 * one["score"]:.1f} %' for one in best]
    return lambda seconds: lines


def lines_of_segments(segments: Sequence[dict[str, Any]]) -> Lines:
    """The segments that last at a time."""

    def lines(seconds: float) -> list[str]:
        now = [s for s in segments if s['start'] <= seconds < s['end']]
        return [f'{one["class"]}  {100 * one["score"]:.1f} %' for one in now]

    return lines


def annotate(video: str, out: Path, lines: Lines) -> None:
    """Write a copy of a video with lines of text, without sound, atomically.

    Args:
        video: Its path, or a folder of pictures.
        out: The .mp4 file.
        lines: Text at a time in seconds.
    """
    with atomic_path(out, suffix='.mp4') as part, VideoSource(video, live=False) as source:
        writer = VideoOut(part, source.fps)
        try:
            for frame in source:
                writer.write(_draw(frame.image, lines(frame.time)), frame.time)
        finally:
            writer.close()


def _draw(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    height, width = image.shape[:2]
    if width < WIDTH:
        height, width = round(height * WIDTH / width), WIDTH
    image = cv2.resize(image, (width // 2 * 2, height // 2 * 2))  # as encoders want it
    for row, text in enumerate(lines):
        for shade, thickness in ((0, 3), (255, 1)):
            place = (8, (row + 1) * LINE)
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(image, text, place, font, 0.55, (shade,) * 3, thickness, cv2.LINE_AA)
    return image
