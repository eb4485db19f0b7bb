"""Tests that need a GPU; in a rehearsal, the tests of the same files that do not."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from common import ROOT, arguments, write

FILES = ['tests/layers/test_gpu_loop.py', 'tests/layers/test_gpu_choice.py']


def main() -> int:
    args = arguments(__doc__)
    chosen = ['-k', 'plain or test_gpu_choice'] if args.rehearse else ['-m', 'gpu']
    if not args.rehearse and importlib.util.find_spec('xdist'):
        chosen += ['-n', '8']  # most of the time is the compiler's
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'junit.xml'
        code = subprocess.run(
            [sys.executable, '-m', 'pytest', '-q', f'--junitxml={report}', *chosen, *FILES],
            cwd=ROOT,
        ).returncode
        if not report.exists():
            raise SystemExit(f'pytest ended with {code} before any test ran')
        suite = ElementTree.parse(report).getroot().find('testsuite')
    counts = {k: int(suite.get(k)) for k in ('tests', 'failures', 'errors', 'skipped')}
    failed = [
        f'{case.get("classname")}::{case.get("name")}'
        for case in suite.iter('testcase')
        if case.find('failure') is not None or case.find('error') is not None
    ]
    write(args.json, dict(counts, failed=failed))
    return code


if __name__ == '__main__':
    sys.exit(main())
