"""Video file whose frames keep the times of their source."""

from pathlib import Path

import cv2
import numpy as np

from .captures import SourceError


class VideoOut:
    """Write frames at the times they belong to.

    Args:
        path: the mp4 file; its folder is made.
        fps: its frames per second.
    """

    def __init__(self, path: str | Path, fps: float) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path, self.fps = str(path), fps
        self.writer: cv2.VideoWriter | None = None
        self.written = 0
        self.size = (0, 0)

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Write an image, BGR, until the video is ``seconds`` long.

        Raises:
            SourceError: if OpenCV cannot write the file.
        """
        if self.writer is None:
            height, width = image.shape[:2]
            self.size = (width, height)
            code = cv2.VideoWriter_fourcc(*'mp4v')
            self.writer = cv2.VideoWriter(self.path, code, self.fps, self.size)
            if not self.writer.isOpened():
                raise SourceError(f'OpenCV cannot write {self.path}')
        if image.shape[1::-1] != self.size:  # the source changed its size
            image = cv2.resize(image, self.size)
        copies = max(1, round(seconds * self.fps) + 1 - self.written)
        for _ in range(copies):
            self.writer.write(image)
        self.written += copies

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.release()
