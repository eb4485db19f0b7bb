"""tools/refresh_results.sh: its commands exist, and it goes on where it was."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.support import ROOT

sys.path.insert(0, str(ROOT / 'docs/_ext'))
import option_tables

# Stands for Python: notes its arguments, and fails for the script that FAILS names.
STAND_IN = """#!/bin/bash
printf '%s\\t' "$@" >> "$CALLS"
echo >> "$CALLS"
[[ -z "$FAILS" || "$1" != *"$FAILS"* ]]
"""


@pytest.fixture
def refresh(tmp_path):
    """Runs the script and gives its result and the calls that it made."""
    python = tmp_path / 'python'
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def run(fails=''):
        calls = tmp_path / 'calls'
        calls.write_text('')
        env = os.environ | dict(PYTHON=str(python), CALLS=str(calls), FAILS=fails)
        done = subprocess.run(
            ['bash', ROOT / 'tools/refresh_results.sh', tmp_path / 'out'],
            env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return done, [line.split('\t')[:-1] for line in calls.read_text().splitlines()]

    return run


def test_each_command_takes_what_it_is_given(refresh, capsys):
    done, calls = refresh()
    assert done.returncode == 0, done.stderr
    assert len(calls) > 25
    for script, *argv in calls:
        source = (ROOT / script).read_text()
        command = re.search(r'cnnlstm_mm\.commands\.([\w.]+) import main', source)
        if command:
            name = command[1].replace('.', ' ').replace('_', '-')
            name = {'analysis events': 'events'}.get(name, name)
            option_tables.parse(name, argv)
        for option in (word for word in argv if word.startswith('--')):
            assert command or option in source, f'{script} {option}'
        for config in (word for word in argv if word.startswith('configs/')):
            assert (ROOT / config).is_file(), config


def test_started_again_it_runs_what_is_missing(refresh, tmp_path):
    done, calls = refresh('benchmarks/fuzz')
    assert done.returncode == 1 and 'Failed: fuzz;' in done.stdout
    log = (tmp_path / 'out/fuzz.log').read_text()
    assert re.search(r'^\$ .*benchmarks/fuzz.py --count', log)
    assert re.search(r'^20\d\d-\d\d-\d\d, \d+ cores, commit \w+', log, re.M)
    done, calls = refresh()
    assert done.returncode == 0
    assert [Path(call[0]).name for call in calls] == ['fuzz.py']
