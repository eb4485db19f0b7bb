"""best_segments against all divisions, and merge."""

import itertools

import numpy as np
import pytest

from cnnlstm_mm.prediction.segments import BORDER, LEAST_SCORE, best_segments, merge
from cnnlstm_mm.streaming import Event


def value(scores, segments):
    logs = np.log(np.maximum(scores, LEAST_SCORE))
    return sum(logs[a:b, k].sum() for a, b, k in segments) - BORDER * (len(segments) - 1)


def divisions(steps, least):
    """Borders of each division into segments of at least ``least`` steps."""
    for count in range(steps):
        for inner in itertools.combinations(range(1, steps), count):
            borders = (0, *inner, steps)
            if all(b - a >= least for a, b in itertools.pairwise(borders)):
                yield borders


@pytest.mark.parametrize('steps, least', [(9, 1), (10, 2), (11, 3), (9, 9), (4, 7), (1, 1)])
def test_the_best_of_all_divisions(steps, least):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        classes = np.repeat(rng.integers(3, size=4), 3)[:steps]
        logits = rng.normal(0, 1, (steps, 3)) + 2 * np.eye(3)[classes]
        scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        best = -np.inf
        for borders in divisions(steps, min(least, steps)):
            own = [
                (a, b, np.log(scores[a:b]).sum(0).argmax()) for a, b in itertools.pairwise(borders)
            ]
            best = max(best, value(scores, own))
        found = best_segments(scores, least)
        assert value(scores, found) == pytest.approx(best)
        assert [a for a, _, _ in found] == [0, *(b for _, b, _ in found[:-1])]
        assert found[-1][1] == steps
        assert all(b - a >= min(least, steps) for a, b, _ in found)


def test_certain_scores_of_zero():
    scores = np.zeros((8, 2))
    scores[:5, 0] = scores[5:, 1] = 1
    assert best_segments(scores, 2) == [(0, 5, 0), (5, 8, 1)]


def test_neighbours_of_one_class_are_joined():
    events = [
        Event(0, 1, 'a', 0.5),
        Event(1, 4, 'a', 0.9),
        Event(4, 5, 'b', 1),
        Event(6, 7, 'b', 1),
    ]
    assert list(merge(events)) == [Event(0, 4, 'a', pytest.approx(0.8)), *events[2:]]
    assert list(merge([])) == []
