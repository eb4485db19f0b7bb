"""Found events against annotated segments."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Segment(NamedTuple):
    """A part of a video: name of the video ('' where there is one), label, seconds."""

    source: str
    label: str
    start: float
    end: float


def read_segments(path: str | Path) -> list[Segment]:
    """Read segments or events.

    Args:
        path: .csv with a header, .json with a list of objects, or .jsonl with one per line. Columns
            or keys: start, end, label, and source or video where there are several.

    Raises:
        ValueError: for a line that cannot be read, with its number.
    """
    text, rows = Path(path).read_text(encoding='utf-8-sig'), []
    try:
        if str(path).endswith('.csv'):
            rows = list(csv.DictReader(text.splitlines()))
        elif str(path).endswith('.json'):
            rows = list(json.loads(text))
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f'expected a list of segments in {path}, got {error}; fix: name it .csv, .json or '
            '.jsonl after what it holds'
        ) from None
    segments = []
    for number, row in enumerate(rows, 1):
        try:
            source = str(row.get('source') or row.get('video') or '')
            segment = Segment(source, str(row['label']), float(row['start']), float(row['end']))
            if not segment.start <= segment.end:
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(
                f'{path}: expected start, end and label of a segment in entry {number}, got {row}; '
                'fix: seconds with start <= end'
            ) from None
        segments.append(segment)
    return segments


def overlap(a: Segment, b: Segment) -> float:
    """Compute intersection over union of two segments in time; 0 of other videos or labels."""
    if a[:2] != b[:2]:
        return 0.0
    union = max(a.end, b.end) - min(a.start, b.start)
    return max(0.0, min(a.end, b.end) - max(a.start, b.start)) / union if union > 0 else 1.0


def match(truth: Sequence[Segment], found: Sequence[Segment]) -> list[tuple[int, int, float]]:
    """Pair segments with events one to one, the greatest overlaps first.

    Returns:
        Number of the segment, number of the event, and overlap above 0, of each pair.
    """
    pairs = [(overlap(a, b), i, j) for i, a in enumerate(truth) for j, b in enumerate(found)]
    taken: tuple[set[int], set[int]] = (set(), set())
    matches = []
    for value, i, j in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:])):
        if value > 0 and i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            matches.append((i, j, value))
    return matches


def score_events(
    truth: Sequence[Segment], found: Sequence[Segment], threshold: float = 0.5
) -> dict[str, dict[str, float | int | None]]:
    """Score events.

    Args:
        truth: annotated segments.
        found: events.
        threshold: overlap from which a pair counts as found.

    Returns:
        By label and for 'all': ``segments`` and ``events``, their numbers; ``overlap``, the mean
        over segments of the overlap with their event, 0 without one; ``precision`` and ``recall``,
        None without events or segments.
    """
    matches = match(truth, found)
    labels = sorted({segment.label for segment in [*truth, *found]})
    scores = {}
    for name, chosen in [*((label, {label}) for label in labels), ('all', set(labels))]:
        values = [value for i, _, value in matches if truth[i].label in chosen]
        segments = sum(segment.label in chosen for segment in truth)
        events = sum(event.label in chosen for event in found)
        hits = sum(value >= threshold for value in values)
        scores[name] = dict(
            segments=segments,
            events=events,
            overlap=sum(values) / segments if segments else None,
            precision=hits / events if events else None,
            recall=hits / segments if segments else None,
        )
    return scores
