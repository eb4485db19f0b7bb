"""benchmarks/kill_anywhere.py with few kills."""

import json

import pytest
from helpers.support import run_python

pytestmark = pytest.mark.slow


def test_kills_and_pairs(tmp_path, forks):
    done = run_python(
        'benchmarks/kill_anywhere.py',
        *('--kills', 6, '--pairs', 3, '--only', 'quickstart', 'ucf101', 'kinetics'),
        *('--work-dir', tmp_path / 'work', '--json', tmp_path / 'kills.json'),
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    result = json.loads((tmp_path / 'kills.json').read_text())
    assert len(result['kills']) == 6 and len(result['pairs']) == 3 and not result['wrong']
