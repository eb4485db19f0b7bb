"""benchmarks/gpu: its rehearsal on a CPU, and what it does with a step that fails."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.support import ROOT

FOLDER = ROOT / 'benchmarks/gpu'


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location('gpu_benchmark', FOLDER / 'run.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_step_that_fails_or_hangs_is_written_down_and_the_next_runs(bench, tmp_path, monkeypatch):
    scripts = dict(
        fails='open(PATH, "w").write("[1]"); raise SystemExit("no such card")',
        hangs='import time; open(PATH, "w").write("[2]"); time.sleep(60)',
        works='open(PATH, "w").write("[3]")',
    )
    steps = []
    for name, text in scripts.items():
        script = tmp_path / f'{name}.py'
        script.write_text(f'import sys\nPATH = sys.argv[sys.argv.index("--json") + 1]\n{text}\n')
        steps.append(bench.Step(name, [str(script)], 3))
    monkeypatch.setattr(bench, 'STEPS', steps)
    monkeypatch.setattr(sys, 'argv', ['run.py', '--out', str(tmp_path / 'out')])
    assert bench.main() == 1
    summary = json.loads((tmp_path / 'out/gpu.json').read_text())
    assert not summary['ok'] and list(summary['steps']) == ['fails', 'hangs', 'works']
    fails, hangs, works = summary['steps'].values()
    assert fails['exit'] == 1 and 'no such card' in fails['log'] and fails['result'] == [1]
    assert hangs['exit'] == 'took more than 3 s' and hangs['result'] == [2]
    assert works['ok'] and works['result'] == [3]


def test_no_step_starts_after_the_time_is_up(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, 'TOTAL', 4)
    monkeypatch.setattr(sys, 'argv', ['run.py', '--out', str(tmp_path)])
    assert bench.main() == 1
    steps = json.loads((tmp_path / 'gpu.json').read_text())['steps']
    assert {row['exit'] for row in steps.values()} == {'no time left'}


@pytest.mark.slow
def test_rehearsal_ends_green(bench, tmp_path, forks):
    result = subprocess.run(
        ['bash', str(FOLDER / 'run.sh'), '--rehearse', '--out', str(tmp_path)],
        env={**os.environ, 'PYTHON': str(forks), 'WHEELS': str(tmp_path / 'none')},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads((tmp_path / 'gpu.json').read_text())
    assert summary['rehearsal'] and list(summary['steps']) == [s.name for s in bench.STEPS]
    results = {name: row['result'] for name, row in summary['steps'].items()}
    assert results['tests']['tests'] > results['tests']['skipped']
    peers = {row['peer'] for row in results['layer']['rows']}
    assert {
        'ours',
        'ours, persistent',
        'ours, gemm',
        'ours, update',
        'cat cell',
        'hoisted cuDNN',
    } <= peers
    assert all(row['forward'] > 0 and row['train'] > 0 for row in results['layer']['rows'])
    assert results['training']['accuracies'] and results['ddp']['accuracies']
    assert len(results['recognizers']['rows']) == 4 and len(results['streaming']['rows']) == 4


def test_the_readme_names_every_step_and_its_limit(bench):
    text = (FOLDER / 'README.md').read_text()
    for step in bench.STEPS:
        assert f'| {step.name} | {step.seconds} s |' in text
    assert f'At most {bench.TOTAL} seconds' in text
    assert all(Path(FOLDER / step.script[0]).exists() for step in bench.STEPS)
