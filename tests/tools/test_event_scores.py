"""tools/analysis/events.py on lists whose scores are counted by hand."""

import itertools
import json
import random

import pytest
from helpers.support import run_tool

from cnnlstm_mm.lab.analysis.event_scores import Segment, match, overlap, score_events

TRUTH = 'start,end,label,video\n0,4,walk,a\n10,14,walk,a\n20,22,run,a\n0,4,walk,b\n'
EVENTS = [
    dict(start=1, end=4, label='walk', source='a'),  # 3 of 4 s
    dict(start=0, end=1, label='walk', source='a'),  # the rest of the same segment
    dict(start=13, end=17, label='walk', source='a'),  # 1 of 7 s
    dict(start=0, end=4, label='run', source='b'),  # another class
    dict(start=20, end=22, label='run', source='a', score=0.9),
]


@pytest.mark.parametrize('kind', ['jsonl', 'json', 'csv'])
def test_scores(kind, tmp_path):
    truth, events = tmp_path / 'truth.csv', tmp_path / f'events.{kind}'
    truth.write_text(TRUTH)
    if kind == 'csv':
        rows = [f'{e["source"]},{e["label"]},{e["start"]},{e["end"]}\r\n' for e in EVENTS]
        events.write_text('\ufeffsource,label,start,end\r\n' + ''.join(rows), encoding='utf-8')
    else:
        lines = '\n'.join(map(json.dumps, EVENTS)) + '\n'
        events.write_text(lines if kind == 'jsonl' else json.dumps(EVENTS))
    files = '--json', tmp_path / 's.json', '--markdown', tmp_path / 's.md'
    done = run_tool('tools/analysis/events.py', truth, events, *files)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / 's.json').read_text())
    assert found['threshold'] == 0.5
    walk, run, everything = (found['scores'][name] for name in ('walk', 'run', 'all'))
    assert walk == dict(
        segments=3, events=3, overlap=pytest.approx((3 / 4 + 1 / 7) / 3), precision=1 / 3,
        recall=1 / 3,
    )  # fmt: skip
    assert run == dict(segments=1, events=2, overlap=1, precision=1 / 2, recall=1)
    assert (everything['precision'], everything['recall']) == (2 / 5, 2 / 4)
    assert done.stdout.strip() == (tmp_path / 's.md').read_text().strip()
    assert '| all   | 4        | 5      | 0.473' in done.stdout
    strict = run_tool('tools/analysis/events.py', truth, events, '--overlap', 0.8)
    assert '| walk  | 3        | 3      | 0.298        | 0.000' in strict.stdout


def test_pairs_are_greedy_and_one_to_one():
    """Against a search over all pairs, the greatest first."""
    rng = random.Random(0)
    for _ in range(20):
        lists = []
        for _ in range(2):
            starts = [rng.uniform(0, 20) for _ in range(8)]
            lists.append([Segment('', rng.choice('ab'), s, s + rng.uniform(0, 8)) for s in starts])
        truth, found = lists
        left = {
            (i, j): overlap(truth[i], found[j]) for i, j in itertools.product(range(8), range(8))
        }
        wanted = []
        while left and max(left.values()) > 0:
            i, j = best = max(left, key=left.get)
            wanted.append((*best, left[best]))
            left = {pair: v for pair, v in left.items() if pair[0] != i and pair[1] != j}
        assert match(truth, found) == wanted and wanted
    assert score_events([], [])['all'] == dict(
        segments=0, events=0, overlap=None, precision=None, recall=None
    )


@pytest.mark.parametrize(
    'name, text, words',
    [
        ('e.csv', 'start,end\n1,2\n', 'label of a segment in entry 1'),
        ('e.jsonl', '{"start": 1, "end": 2, "label": "a"}\n{"start": 3', 'fix: name it .csv'),
        ('e.json', '[{"start": 3, "end": 2, "label": "a"}]', 'entry 1'),
        ('e.json', '[3]', 'entry 1'),
        ('e.json', '3', 'expected a list'),
    ],
)
def test_what_cannot_be_read(name, text, words, tmp_path):
    file = tmp_path / name
    file.write_text(text)
    done = run_tool('tools/analysis/events.py', file, file)
    assert done.returncode == 2 and words in done.stderr and name in done.stderr
