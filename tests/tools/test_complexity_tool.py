"""tools/analysis/complexity.py as a user runs it."""

import json

import pytest
from helpers.support import ROOT, run_tool
from mmengine.config import Config

from cnnlstm_mm.lab.analysis.complexity import complexity
from cnnlstm_mm.lab.analysis.latency import latency

TOOL = 'tools/analysis/complexity.py'
STREAM = 'configs/mobilenet_convlstm_stream_quickstart.py'
AVERAGE = 'configs/mobilenet_avgpool_quickstart.py'


@pytest.mark.slow
def test_table_json_and_time(tmp_path):
    path = tmp_path / 'new' / 'cost.json'
    done = run_tool(
        TOOL,
        STREAM,
        AVERAGE,
        '--shape',
        4,
        64,
        48,
        '--latency',
        '--repeats',
        5,
        '--warmup',
        1,
        '--threads',
        1,
        '--batch-size',
        2,
        '--json',
        path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    models = json.loads(path.read_text())['models']
    for config, model in zip((STREAM, AVERAGE), models):
        want = complexity(Config.fromfile(ROOT / config), shape=(4, 64, 48))
        assert {name: model[name] for name in want} == json.loads(json.dumps(want))
        row = [
            cell.strip()
            for cell in next(
                line
                for line in done.stdout.splitlines()
                if line.startswith('| total') and f'{want["params"]:,}' in line
            )
            .strip('|')
            .split('|')
        ]
        assert row[3] == f'{want["flops"] / 1e9:.4f}'
    stream, average = (model['latency'] for model in models)
    assert 'frame' in stream and 'frame' not in average
    assert 'Not streamable: expected a recurrent neck' in done.stdout
    for times in (stream, average):
        assert (times['threads'], times['batch_size']) == (1, 2)
        view = times['view']
        assert 0 < view['median_ms'] <= view['p95_ms']
        assert view['frames_per_s'] == pytest.approx(2 * 4 * 1000 / view['median_ms'])
        assert times['views_per_s'] == pytest.approx(2 * 1000 / view['median_ms'])


def test_what_does_not_fit_is_refused():
    cfg = Config.fromfile(ROOT / STREAM)
    cfg.model.cls_head.type = 'TSNHead'
    for measure in (complexity, latency):
        with pytest.raises(ValueError, match='TSNHead does not go with'):
            measure(cfg)


def test_a_stock_2d_recognizer_is_timed():
    cfg = Config(
        dict(
            model=dict(
                type='Recognizer2D',
                backbone=dict(
                    type='MobileNetV2TSM', num_segments=2, widen_factor=0.1, pretrained2d=False
                ),
                cls_head=dict(
                    type='TSMHead', num_segments=2, num_classes=3, in_channels=1280, is_shift=True
                ),
            )
        )
    )
    times = latency(cfg, shape=(2, 32, 32), repeats=3, warmup=0)
    assert times['view']['median_ms'] > 0 and 'frame' not in times
    with pytest.raises(ValueError, match='expected repeats to be at least 1, got 0'):
        latency(cfg, shape=(2, 32, 32), repeats=0)
