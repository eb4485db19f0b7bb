"""Score overlay for the frames of a stream."""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np

WIDTH, ROW, CHART = 480, 22, 110  # pixels: minimal width, height of a bar and of the chart
COLORS = (
    (66, 133, 244),
    (52, 168, 83),
    (251, 188, 5),
    (234, 67, 53),
    (171, 71, 188),
    (0, 172, 193),
    (255, 112, 67),
    (158, 157, 36),
)


class ScoreOverlay:
    """Draw the best classes as bars, and all scores over time, below a frame.

    Args:
        labels: names of the classes.
        topk: number of classes to draw.
        history: number of frames in the chart.
    """

    def __init__(self, labels: Sequence[str], topk: int = 5, history: int = 150) -> None:
        self.labels = labels
        self.topk = min(topk, len(labels))
        self.history: deque[np.ndarray] = deque(maxlen=history)

    def __call__(self, image: np.ndarray, scores: np.ndarray, status: str = '') -> np.ndarray:
        """Draw the next frame.

        Args:
            image: BGR, uint8 [H, W, 3].
            scores: probabilities [classes].
            status: a line over the frame.

        Returns:
            BGR, uint8, of even height and width, which video encoders need.
        """
        self.history.append(np.asarray(scores))
        height, width = image.shape[:2]
        if width < WIDTH:
            height, width = round(height * WIDTH / width), WIDTH
        width += width % 2
        image = cv2.resize(image, (width, height))
        _text(image, status, (8, 18))
        panel = np.full((self.topk * ROW + CHART, width, 3), 24, np.uint8)
        best = np.argsort(-scores, kind='stable')[: self.topk]
        for rank, k in enumerate(best):
            self._bar(panel, rank, int(k), float(scores[k]))
        self._chart(panel[self.topk * ROW :], best)
        drawn = np.concatenate([image, panel])
        return drawn[: len(drawn) // 2 * 2]

    def _bar(self, panel: np.ndarray, rank: int, k: int, score: float) -> None:
        top, width = rank * ROW, panel.shape[1]
        end = round(np.clip(score, 0, 1) * width)
        cv2.rectangle(panel, (0, top + 2), (end, top + ROW - 2), color(k), -1)
        _text(panel, f'{self.labels[k]}  {100 * score:.1f} %', (8, top + ROW - 6))

    def _chart(self, panel: np.ndarray, shown: np.ndarray) -> None:
        height, width = panel.shape[:2]
        for share in (0.0, 0.5, 1.0):
            y = int(4 + (height - 8) * (1 - share))
            cv2.line(panel, (0, y), (width, y), (70, 70, 70), 1)
        values = np.stack(self.history)  # [steps, classes]
        right = np.linspace(0, width - 1, self.history.maxlen)
        x = right[len(right) - len(values) :]
        for k in shown[::-1]:
            y = 4 + (height - 8) * (1 - values[:, k].clip(0, 1))
            points = np.stack([x, y], 1).round().astype(np.int32)
            cv2.polylines(panel, [points], False, color(int(k)), 2, cv2.LINE_AA)


def color(k: int) -> tuple[int, int, int]:
    """Return the colour of class ``k`` in BGR."""
    return COLORS[k % len(COLORS)][::-1]


def _text(image: np.ndarray, text: str, place: tuple[int, int]) -> None:
    for shade, shift in ((0, 1), (255, 0)):
        spot = (place[0] + shift, place[1] + shift)
        cv2.putText(image, text, spot, cv2.FONT_HERSHEY_SIMPLEX, 0.48, (shade,) * 3, 1, cv2.LINE_AA)
