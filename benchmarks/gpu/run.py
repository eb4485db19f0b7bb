"""All steps of the GPU benchmark, each in a separate process, into one JSON.

A step that fails or times out is recorded, and the next one runs.

    bash benchmarks/gpu/run.sh --out work_dirs/gpu
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TOTAL = 460  # seconds on a card


class Step(NamedTuple):
    """A script of this folder with its arguments, and how long it may take."""

    name: str
    script: list
    seconds: int
    interpreted: bool = False  # in a rehearsal


# The most informative first.
STEPS = [
    Step('machine', ['machine.py'], 40),
    Step('tests', ['gpu_tests.py'], 120),
    Step('layer', ['layer.py', '--budget', '150'], 190, interpreted=True),
    Step('training', ['quickstart.py'], 100),
    Step('ddp', ['quickstart.py', '--ddp'], 60),
    Step('recognizers', ['recognizers.py'], 70),
    Step('streaming', ['streams.py'], 40),
]


def run(step: Step, out: Path, rehearse: bool, seconds: float) -> dict:
    """Run a step; return whether it succeeded, its figures, and the end of its log."""
    result, log = out / f'{step.name}.json', out / f'{step.name}.log'
    result.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / step.script[0]), *step.script[1:], '--json', str(result)]
    environment = dict(os.environ)
    if rehearse and step.interpreted:
        environment['TRITON_INTERPRET'] = '1'
    start = time.perf_counter()
    with log.open('w') as file:
        process = subprocess.Popen(
            [*command, *['--rehearse'] * rehearse],
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            code = f'took more than {seconds:.0f} s'
        finally:
            end(process)
    row = dict(ok=code == 0, seconds=round(time.perf_counter() - start, 1), exit=code)
    if result.exists():  # also of a step that timed out
        row['result'] = json.loads(result.read_text())
    if code != 0:
        row['log'] = log.read_text(errors='replace')[-2000:]
    return row


def end(process: subprocess.Popen) -> None:
    """Kill a process and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu'))
    parser.add_argument('--only', nargs='*', help='names of steps')
    parser.add_argument(
        '--rehearse', action='store_true', help='small shapes on the CPU, to test the scripts'
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    start, rows = time.perf_counter(), {}
    for step in STEPS:
        if args.only and step.name not in args.only:
            continue
        left = TOTAL - (time.perf_counter() - start)
        rows[step.name] = (
            run(step, args.out, args.rehearse, min(step.seconds, left))
            if left > 5
            else dict(ok=False, seconds=0, exit='no time left')
        )
        row = rows[step.name]
        print(f'{step.name:<12}{"ok" if row["ok"] else row["exit"]!s:<24}{row["seconds"]:>7} s')
        summary = dict(
            rehearsal=args.rehearse,
            seconds=round(time.perf_counter() - start, 1),
            ok=all(r['ok'] for r in rows.values()),
            steps=rows,
        )
        (args.out / 'gpu.json').write_text(json.dumps(summary, indent=1))
    print(f'{args.out / "gpu.json"}, {summary["seconds"]} s')
    return not summary['ok']


if __name__ == '__main__':
    sys.exit(main())
