"""Videos with their answers drawn on them."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cnnlstm_mm.storage import atomic_path, write_json
from cnnlstm_mm.streaming.source import VideoSource
from cnnlstm_mm.streaming.video_out import VideoOut

WIDTH = 480  # pixels; narrower pictures are enlarged, so that the text can be read
LINE = 22

Lines = Callable[[float], Sequence[str]]


class Drawn:
    """What the videos of a folder show, kept in ``.drawn.json``, for runs that go on.

    Args:
        folder: Of the videos; None without one.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.known: dict[str, str] = {}
        if folder is not None and self._path.is_file():
            with suppress(ValueError, TypeError):
                self.known = dict(json.loads(self._path.read_text(encoding='utf-8')))

    def shows(self, out: Path, source: str, answer: Sequence[dict[str, Any]]) -> bool:
        """Whether a video is there, of this source as it is now, with this answer."""
        if not out.is_file() or self.known.get(self._key(out)) != self._hash(source, answer):
            return False
        return out.stat().st_mtime_ns > os.stat(source).st_ctime_ns

    def add(self, out: Path, source: str, answer: Sequence[dict[str, Any]]) -> None:
        """Note what a video shows."""
        self.known[self._key(out)] = self._hash(source, answer)
        write_json(self._path, self.known, indent=1)

    @property
    def _path(self) -> Path:
        return Path(self.folder or '.') / '.drawn.json'

    def _key(self, out: Path) -> str:
        return os.path.relpath(out, self.folder)

    @staticmethod
    def _hash(source: str, answer: Sequence[dict[str, Any]]) -> str:
        text = json.dumps([os.path.abspath(source), answer])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


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
