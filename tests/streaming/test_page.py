"""The page's script in node, on a document of stubs: cameras and events."""

import json
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.stream_models import CONV, I3D, config
from helpers.support import ROOT
from mmengine.registry import init_default_scope

from cnnlstm_mm.export import step_facts
from cnnlstm_mm.streaming import StreamingRecognizer, find_events

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


@pytest.mark.parametrize('late', [False, True])
def test_events_are_those_of_python(late):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (60, 3)) + 4 * np.eye(3)[np.repeat(rng.integers(3, size=12), 5)]
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    times = (np.arange(60) / 8).tolist()
    facts = dict(frame_interval=1, probabilities=True, none_class=2)
    found = page(secure=True, facts=facts, scores=scores.tolist(), times=times, late=late)
    wanted = find_events(scores, times, LABELS, none_class=2)
    assert len(wanted) > 3 and [e['label'] for e in found['events']] == [e.label for e in wanted]
    np.testing.assert_allclose(
        [[e['start'], e['end'], e['score']] for e in found['events']],
        [[e.start, e.end, e.score] for e in wanted],
        atol=1e-9,
    )
    assert found['shown'][0].startswith(f'{wanted[-1].start:.2f} - {wanted[-1].end:.2f} s')


@pytest.mark.parametrize('name, number', [('none', 2), (2, 2), (None, None)])
def test_the_none_class_of_a_config_is_a_number_for_the_page(name, number):
    init_default_scope('mmaction')
    cfg = config(CONV, dict(I3D, num_classes=3), dict(type='OneConvolution'))
    cfg.none_class = name
    rec = StreamingRecognizer(cfg)
    graph = SimpleNamespace(example=(torch.zeros(1, 3, 32, 32),), names=[])
    assert step_facts(rec, graph, LABELS)['none_class'] == number


RESET = """
const fs = require('fs'), vm = require('vm');
class Tensor { constructor(type, data, dims) { Object.assign(this, {type, data, dims}); } }
const world = vm.createContext({ort: {Tensor}});
const file = 'cnnlstm_mm/commands/web/recognizer.js';
vm.runInContext(fs.readFileSync(file, 'utf8') + ';this.made = StepRecognizer', world);
let end;
const session = {run: () => new Promise((done) => { end = done; })};
const state = [{input: 'h', output: 'next.h', shape: [1], dtype: 'float32'}];
const preprocessing = {steps: [], size: [1, 1], mean: [0, 0, 0], std: [1, 1, 1]};
const rec = new world.made({labels: ['walk'], state, preprocessing}, session);
(async () => {
  const image = {data: new Uint8Array(4), width: 1, height: 1}, after = [];
  for (const again of [false, true]) {
    const done = rec.step(image);
    if (again) rec.reset();
    end({'next.h': {data: [5]}, scores: {data: [1]}});
    await done;
    after.push(rec.state.h.data[0]);
  }
  console.log(JSON.stringify(after));
})();
"""


def test_a_stream_that_begins_while_the_model_runs_has_no_past():
    if not shutil.which('node'):
        pytest.skip('needs node')
    done = subprocess.run(
        ['node', '-e', RESET], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [5, 0]
