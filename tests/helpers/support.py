"""The repository's paths and a second Python, for several tests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get('CNNLSTM_MM_SHARED', ROOT.parent / 'shared'))


def run_python(*args, **kwargs) -> subprocess.CompletedProcess:
    """Run this Python in the repository and keep what it prints."""
    env = {**os.environ, 'OMP_NUM_THREADS': '2', **kwargs.pop('env', {})}
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        **kwargs,
    )
