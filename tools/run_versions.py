"""Try versions of Python and of the packages: tests and a short quickstart in each, and a table.

    python tools/run_versions.py 3.10:floor 3.11:tested 3.11:newest 3.13:newest
    python tools/run_versions.py 3.13:newest=/path/to/venv/bin/python --tests tests/test_config.py

Each environment is made by tools/run_tests.sh, unless its Python is named. The table goes to
docs/versions.md; rows of other environments in it stay.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.storage import write_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/versions.md'
HEAD = """# Versions

What ran on which versions, written by `python tools/run_versions.py`. `floor`: the versions of
tools/constraints-floor.txt; `tested`: those of tools/constraints.txt; `newest`: whatever pip chose on
that day. The tests are those of `--fast`, on a CPU; the quickstart is a small one: data, an epoch, a
test, an ONNX export and a stream.

| environment | Python | torch | numpy | mmengine | OpenCV | tests | quickstart | day |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
FACTS = """
import json, sys, torch, numpy, mmengine, cv2
print(json.dumps([sys.version.split()[0], torch.__version__, numpy.__version__,
                  mmengine.__version__, cv2.__version__]))
"""
RECIPE = 'mobilenet_convlstm_quickstart'
SMALL = ('--train-per-class', '8', '--val-per-class', '2', '--workers', '1')
OPTIONS = ('train_cfg.max_epochs=1', 'train_dataloader.num_workers=0')
OPTIONS += ('val_dataloader.num_workers=0', 'test_dataloader.num_workers=0')
WEIGHTS = f'work_dirs/{RECIPE}/epoch_1.pth'
STEPS = (
    ('prepare', 'quickstart', '--out', 'data/quickstart', *SMALL),
    ('train', RECIPE, '--cfg-options', *OPTIONS),
    ('test', RECIPE, WEIGHTS, '--cfg-options', *OPTIONS[1:]),
    ('export', RECIPE, WEIGHTS, '--mode', 'step', '--out', 'step.onnx'),
    ('stream', 'VIDEO', RECIPE, WEIGHTS, '--json', 'scores.jsonl'),
)


def environment(name: str) -> str:
    """The Python of an environment such as '3.13:newest', which is made where it is missing."""
    version, _, packages = name.partition(':')
    made = ['bash', 'tools/run_tests.sh', '--python', version, '--versions', packages]
    done = subprocess.run([*made, '--version'], cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f'expected an environment for {name}, got none; fix: see above')
    return str(ROOT / f'.venv-{version}-{packages}/bin/python')


def run_tests(python: str, tests: list[str]) -> str:
    """Summary of pytest: '231 passed, 4 skipped'."""
    command = [python, '-m', 'pytest', '-q', '-m', 'not slow', '-p', 'no:cacheprovider', *tests]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    print(done.stdout[-4000:], done.stderr[-2000:])
    found = re.findall(r'\d+ (?:passed|failed|skipped|errors?)', done.stdout)
    return ', '.join(found[-4:]) or f'exit code {done.returncode}'


def run_quickstart(python: str) -> str:
    """'ok', or the step that failed."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        for step in STEPS:
            video = next(Path(folder).rglob('*.avi'), '')
            words = [str(video) if word == 'VIDEO' else word for word in step]
            command = [python, '-m', 'cnnlstm_mm', *words]
            done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
            if done.returncode:
                print(done.stdout[-3000:], done.stderr[-3000:])
                return f'{step[0]}: exit code {done.returncode}'
    return 'ok'


def rows_of(page: Path) -> dict[str, str]:
    """Rows of the table by the name of their environment."""
    text = page.read_text(encoding='utf-8') if page.is_file() else ''
    return {m[1]: m[0] for m in re.finditer(r'^\| (3\.[\w.:]+) \|.*$', text, re.M)}


def run(args: argparse.Namespace) -> None:
    """Run all environments and write the table after each."""
    for given in args.environments:
        name, _, python = given.partition('=')
        python = python or environment(name)
        facts = json.loads(subprocess.run([python, '-c', FACTS], stdout=-1, check=True).stdout)
        tests, quickstart = run_tests(python, args.tests), run_quickstart(python)
        if args.tests != ['tests']:
            tests += f' ({" ".join(args.tests)})'
        cells = [name, *facts, tests, quickstart, date.today().isoformat()]
        rows = rows_of(args.page) | {name: f'| {" | ".join(cells)} |'}
        write_text(args.page, HEAD + ''.join(f'{rows[key]}\n' for key in sorted(rows)))
        print(rows[name])


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('environments', nargs='+', help='PYTHON:VERSIONS or PYTHON:VERSIONS=PATH')
    parser.add_argument('--tests', nargs='+', default=['tests'], help='default: all but slow ones')
    parser.add_argument('--page', type=Path, default=PAGE, help='default: docs/versions.md')
    return parser


def main(argv: list[str] | None = None) -> int:
    return run_command(run, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
