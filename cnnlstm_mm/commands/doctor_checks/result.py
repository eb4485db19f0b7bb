"""Result of a check, and code run in a subprocess."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        name (str): What was checked.
        state (str): 'ok', 'warning' or 'failed'.
        found (str): What was found.
        cure (str): Suggested fix; '' if none is needed.
    """

    name: str
    state: str
    found: str
    cure: str = ''


def tried(code: str, seconds: float = 300.0, *args: str) -> tuple[bool, str]:
    """Run code that may crash or hang in a subprocess.

    Args:
        code (str): Python; the last line that it prints is the answer.
        seconds (float): Time limit. Defaults to 300.
        *args (str): Its ``sys.argv[1:]``.

    Returns:
        tuple[bool, str]: Whether it succeeded; its last line, or the error.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    try:
        done = subprocess.run(
            [sys.executable, '-c', code, *args],
            capture_output=True,
            text=True,
            errors='replace',
            timeout=seconds,
            env={**os.environ, 'PYTHONPATH': path},
        )
    except subprocess.TimeoutExpired:
        return False, f'no answer within {seconds:g} s'
    said = (done.stdout if not done.returncode else done.stderr).strip()
    last = said.splitlines()[-1] if said else ''
    if done.returncode < 0:
        return False, f'the process was killed by signal {-done.returncode}'
    return not done.returncode, last
