"""What ScoreOverlay draws, by the colours of its pixels."""

import numpy as np
import pytest

from cnnlstm_mm.streaming import ScoreOverlay
from cnnlstm_mm.streaming.overlay import CHART, ROW, color

LABELS = ['a', 'b', 'c']


@pytest.mark.parametrize('size', [(96, 96), (241, 641)])
def test_size_is_even_and_wide_enough(size):
    image = ScoreOverlay(LABELS)(np.zeros((*size, 3), np.uint8), np.ones(3))
    height, width = image.shape[:2]
    assert height % 2 == width % 2 == 0 and width >= 480
    assert image.dtype == np.uint8
    assert height >= 3 * ROW + CHART


def test_bars_are_as_long_as_scores_and_in_their_order():
    overlay = ScoreOverlay(LABELS, topk=2)
    image = overlay(np.zeros((200, 500, 3), np.uint8), np.array([0.25, 0.1, 0.75]))
    for rank, (k, score) in enumerate(((2, 0.75), (0, 0.25))):
        # The lowest row of the bar is free of letters.
        row = image[200 + rank * ROW + ROW - 3]
        assert (row == color(k)).all(1).sum() == pytest.approx(500 * score, abs=2)


def test_chart_goes_with_the_scores_and_forgets_old_ones():
    overlay = ScoreOverlay(LABELS, topk=1, history=10)
    for score in [0.0] * 20 + [1.0] * 5:
        image = overlay(np.zeros((200, 500, 3), np.uint8), np.array([score, 0, 0]))
    assert len(overlay.history) == 10
    chart = image[200 + ROW :]
    drawn = (chart == color(0)).all(2)
    height = np.array([column.argmax() if column.any() else -1 for column in drawn.T])
    assert height[10] > 0.8 * CHART and 0 <= height[-10] < 0.2 * CHART
