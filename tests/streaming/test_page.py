"""The page's script in node, on a document of stubs: cameras and events."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from helpers.support import ROOT

from cnnlstm_mm.streaming import find_events

LABELS = ['walk', 'run', 'none']


def page(**setup):
    if not shutil.which('node'):
        pytest.skip('needs node')
    setup = dict(labels=LABELS, facts=dict(frame_interval=1, probabilities=True)) | setup
    done = subprocess.run(
        ['node', 'tests/helpers/page.js'],
        cwd=ROOT,
        input=json.dumps(setup),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_https_the_page_says_so():
    found = page(secure=False)
    assert 'https://' in found['status'] and '192.168.0.2' in found['status']
    assert 'undefined' not in found['status'] and found['asked'] == []


@pytest.mark.parametrize('choose, wish', [(0, True), (1, dict(facingMode='environment'))])
def test_a_camera_can_be_chosen(choose, wish):
    found = page(secure=True, choose=choose)
    assert found['asked'] == [wish] and found['status'] == 'Back camera'
    assert found['cameras'] == ['any camera', 'back camera', 'front camera', 'Back camera']


def test_events_are_those_of_python():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (60, 3)) + 4 * np.eye(3)[np.repeat(rng.integers(3, size=12), 5)]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    times = (np.arange(60) / 8).tolist()
    facts = dict(frame_interval=1, probabilities=True, none_class=2)
    found = page(secure=True, facts=facts, scores=scores.tolist(), times=times)
    wanted = find_events(scores, times, LABELS, none_class=2)
    assert len(wanted) > 3 and [e['label'] for e in found['events']] == [e.label for e in wanted]
    np.testing.assert_allclose(
        [[e['start'], e['end'], e['score']] for e in found['events']],
        [[e.start, e.end, e.score] for e in wanted],
        atol=1e-9,
    )
    assert found['shown'][0].startswith(f'{wanted[-1].start:.2f} - {wanted[-1].end:.2f} s')
