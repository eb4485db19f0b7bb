"""Best division of a video's scores into segments of one class each."""

from collections.abc import Iterable, Iterator

import numpy as np

from cnnlstm_mm.streaming.events import Event

LEAST_SCORE = 1e-3  # scores below it count as this much, so that one step cannot decide
BORDER = 2.0  # natural logarithms that a border must gain


def best_segments(scores: np.ndarray, least: int) -> list[tuple[int, int, int]]:
    """Divide steps so that the sum of log scores of the segments' classes is largest.

    It looks both ways: the exact maximum over all divisions, by dynamic programming.

    Args:
        scores: probabilities [T, classes], T at least 1.
        least: steps of the shortest segment; fewer steps in all are one segment.

    Returns:
        (first step, step after the last, class) of each segment, from 0 to T without gaps.
    """
    steps = len(scores)
    sums = np.zeros((steps + 1, scores.shape[1]))  # [T + 1, classes]
    np.cumsum(np.log(np.maximum(scores, LEAST_SCORE)), axis=0, out=sums[1:])
    best = np.full(steps + 1, -np.inf)  # value of the best division of the steps before
    best[0] = BORDER  # the first segment has no border
    begin = np.full(sums.shape[1], -np.inf)  # of each class, the best value of a segment's begin
    begins = np.zeros(sums.shape[1], int)
    chosen = np.zeros((steps + 1, 2), int)  # begin and class of the last segment
    least = min(max(least, 1), steps)
    for end in range(least, steps + 1):
        value = best[end - least] - BORDER - sums[end - least]
        better = value > begin
        begin[better], begins[better] = value[better], end - least
        total = begin + sums[end]
        k = int(total.argmax())
        best[end], chosen[end] = total[k], (begins[k], k)
    segments, end = [], steps
    while end:
        first, k = map(int, chosen[end])
        segments.append((first, end, k))
        end = first
    return segments[::-1]


def merge(events: Iterable[Event]) -> Iterator[Event]:
    """Join neighbours of one class, weighting their scores by their lengths.

    Args:
        events: in order of their start.
    """
    last: Event | None = None
    for event in events:
        if last is not None and (last.label, last.end) == (event.label, event.start):
            lengths = last.end - last.start, event.end - event.start
            score = np.average([last.score, event.score], weights=lengths)
            last = Event(last.start, event.end, last.label, float(score))
            continue
        if last is not None:
            yield last
        last = event
    if last is not None:
        yield last
