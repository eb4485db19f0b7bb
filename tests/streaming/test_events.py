"""EventDetector against a reference that sees the whole video, and against its JavaScript."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from helpers.support import ROOT

from cnnlstm_mm.streaming import Event, EventDetector, find_events

LABELS = ['walk', 'run', 'jump', 'none']
OPTIONS = [
    dict(),
    dict(high=0.8, low=0.1),
    dict(high=0.5, low=0.5, min_length=0.3),
    dict(smoothing=0.3, high=0.5, merge_gap=0.25),
    dict(window=0.4, high=0.45, low=0.25, merge_gap=0.5, min_length=0.5),
    dict(none_class='none', high=0.5, low=0.2, merge_gap=0.1),
    dict(none_class=3, smoothing=0.1, longest_step=0.5),
    dict(high=[0.5, 0.6, 0.7, 0.9], low=[0.1, 0.2, 0.3, 0.4]),
]


def video(seed, frames=300):
    """Scores that stay a while, times with jitter, repeated ones and gaps."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(rng.integers(4, size=frames // 5), 5)
    logits = rng.normal(0, 1.2, (frames, 4)) + 3 * np.eye(4)[classes]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    steps = rng.choice([0.0, 0.04, 0.1, 0.11, 0.2], frames)
    steps[rng.random(frames) < 0.02] = 3.0
    return scores, np.round(np.cumsum(steps), 3)


def reference(
    scores,
    times,
    high=0.6,
    low=0.3,
    smoothing=0,
    window=0,
    min_length=0,
    merge_gap=0,
    none_class=None,
    longest_step=2.0,
):
    """Part by part between gaps, class by class: smooth, find runs, merge them, choose."""
    high, low = np.broadcast_to(high, 4), np.broadcast_to(low, 4)
    cuts = np.flatnonzero(np.diff(times) > longest_step) + 1
    found, step = [], 0.0
    for rows, t in zip(np.split(scores, cuts), np.split(times, cuts)):
        step = t[-1] - t[-2] if len(t) > 1 else step
        ends = np.append(t[1:], t[-1] + step)
        y = rows.copy()
        for n in range(1, len(t)):
            if smoothing:
                keep = np.exp(-(t[n] - t[n - 1]) / smoothing)
                y[n] = keep * y[n - 1] + (1 - keep) * rows[n]
        if window:
            y = np.stack(
                [
                    rows[(t > now - window) & (np.arange(len(t)) <= n)].mean(0)
                    for n, now in enumerate(t)
                ]
            )
        for k, label in enumerate(LABELS):
            on = y[:, k] >= low[k]
            if none_class is not None:
                none = LABELS.index(none_class) if isinstance(none_class, str) else none_class
                on &= (y.argmax(1) != none) & (k != none)
            runs = []
            for n in np.flatnonzero(on):
                if runs and (on[n - 1] or t[n] - runs[-1][1] < merge_gap):
                    runs[-1][1:] = [ends[n], max(runs[-1][2], y[n, k])]
                else:
                    runs.append([t[n], ends[n], y[n, k]])
            found += [
                Event(a, b, label, s) for a, b, s in runs if s >= high[k] and b - a >= min_length
            ]
    return sorted(found)


def same(found, wanted):
    assert [event.label for event in found] == [event[2] for event in wanted]
    numbers = [[event[k] for event in events] for events in (found, wanted) for k in (0, 1, 3)]
    for a, b in zip(numbers[:3], numbers[3:]):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equals_the_reference(options):
    for seed in range(5):
        scores, times = video(seed)
        wanted = reference(scores, times, **options)
        assert len(wanted) > 3
        same(find_events(scores, times, LABELS, **options), wanted)


def test_events_come_as_soon_as_they_have_ended_and_once():
    scores, times = video(0)
    options = dict(merge_gap=0.2, min_length=0.1)
    detector, found, ongoing = EventDetector(LABELS, **options), [], []
    for row, time in zip(scores, times):
        ended = detector.update(row, time)
        assert all(event.start < event.end <= time for event in ended)
        # None ends that was not going on, and none is lost that was.
        names = [event[::2] for event in ended + detector.ongoing]
        assert {event[::2] for event in ongoing} <= set(names)
        ongoing = detector.ongoing
        found += ended
    rest = detector.finish()
    assert [event[::2] for event in ongoing] == [event[::2] for event in rest]
    assert detector.finish() == [] and detector.ongoing == []
    same(sorted(found + rest), reference(scores, times, **options))
    # It can be used again, from any time on.
    same(find_events(scores, times - 100, LABELS), reference(scores, times - 100))


def test_an_event_begins_where_it_was_first_a_candidate():
    """Half of a class's frames tell two classes apart from the others only."""
    scores = [[0, 0, 0, 1], [0.5, 0.5, 0, 0], [0.5, 0.5, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 0, 1]]
    found = find_events(scores, range(5), LABELS, none_class='none')
    assert found == [Event(1, 4, 'walk', 0.9)]


def test_a_stream_without_events_has_none():
    """By a threshold, and by a class of its own that is the best."""
    times = np.arange(300) / 25
    assert find_events(np.full((300, 4), 0.25), times, LABELS) == []
    for none in (3, '3', 'none'):  # as a command line gives it, too
        options = dict(high=0.3, none_class=none)
        assert find_events([[0.35, 0, 0, 0.65]] * 300, times, LABELS, **options) == []
    assert len(find_events([[0.35, 0, 0, 0.65]] * 300, times, LABELS, high=0.3, low=0.2)) == 2


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(low=0.7), 'low <= high'),
        (dict(high=float('nan')), 'low <= high'),
        (dict(smoothing=1, window=1), 'smoothing or window, got both'),
        (dict(min_length=-1), 'min_length to be at least 0 seconds, got -1'),
        (dict(none_class='quiet'), "one of walk, run, jump, none or a number below 4, got 'quiet'"),
        (dict(none_class=4), 'got 4'),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        EventDetector(LABELS, **options)


@pytest.mark.parametrize(
    'scores, time, words',
    [
        ([0.5, 0.5], 1, '4 finite scores'),
        ([0.5, 0.5, 0, float('nan')], 1, '4 finite scores'),
        ([1, 0, 0, 0], 0.5, r'got 0.5 s after 1.0 s'),
        ([1, 0, 0, 0], float('nan'), 'do not decrease'),
    ],
)
def test_wrong_frames(scores, time, words):
    detector = EventDetector(LABELS)
    detector.update([1, 0, 0, 0], 1)
    with pytest.raises(ValueError, match=words):
        detector.update(scores, time)


def test_javascript_finds_the_same():
    if not shutil.which('node'):
        pytest.skip('needs node')
    cases = []
    for seed, options in enumerate(OPTIONS[:-1]):  # the page has one threshold for all classes
        scores, times = video(seed)
        options = {k: 3 if v == 'none' else v for k, v in options.items()}
        cases.append(dict(scores=scores.tolist(), times=times.tolist(), options=options))
    program = """
    const {EventDetector} = require('./cnnlstm_mm/commands/web/events.js');
    const cases = JSON.parse(require('fs').readFileSync(0));
    console.log(JSON.stringify(cases.map(({scores, times, options}) => {
      const detector = new EventDetector(%s, options);
      return [scores.flatMap((row, t) => detector.update(row, times[t])), detector.finish()].flat();
    })));"""
    done = subprocess.run(
        ['node', '-e', program % json.dumps(LABELS)],
        cwd=ROOT,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for case, found in zip(cases, json.loads(done.stdout)):
        events = sorted(Event(**event) for event in found)
        wanted = find_events(case['scores'], case['times'], LABELS, **case['options'])
        assert len(wanted) > 3
        same(events, wanted)
