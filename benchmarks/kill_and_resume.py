"""Kill a training at random moments, resume it, compare it bit by bit.

One training runs uninterrupted. Then the same training is started again,
killed (SIGKILL) at a random moment, resumed with --resume, killed again, and so
on until it ends; several such chains provide the kills. Of ten kills, one hits
the start-up or the loading of a checkpoint, and two wait for a half-written
checkpoint. Each chain must log the losses of the uninterrupted training, and
its last checkpoint must hold the same bits: weights, their average (EMA),
optimizer, schedules, log histories.

    python benchmarks/kill_and_resume.py --kills 50 --json kills.json
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import cnnlstm_mm.compat  # noqa: F401  lets torch load checkpoints

CONFIG = Path(__file__).with_name('kill_and_resume_config.py')
# Values that differ between any two runs: clocks and paths.
CLOCKS = ('meta/', 'time', 'cfg', 'experiment_name', 'last_ckpt', 'best_ckpt')


class Kill(NamedTuple):
    """One kill and what came before it."""

    chain: int
    resumed_from: str  # a checkpoint, or nothing
    seconds: float  # run time, without imports and building
    iteration: int  # the last one logged, counted from the start of the chain
    half_written: list[str]  # partial files left behind


class Stop(NamedTuple):
    """When to kill a training."""

    starting_up: bool  # count from its first line in the log
    seconds: float  # or from its first iteration
    half_written: bool  # then wait for a file that is being written
    wait: float  # then wait this many seconds


class Training:
    """The training of one folder, in processes that can be killed."""

    def __init__(self, work_dir: Path, data: Path, args: Any) -> None:
        self.work_dir = work_dir
        loaders = [
            f'{mode}_dataloader.dataset.{key}={data}/{value}'
            for mode in ('train', 'val')
            for key, value in (
                ('ann_file', f'quickstart_{mode}_split_1_videos.txt'),
                ('data_prefix.video', 'videos'),
            )
        ]
        self.command = [
            sys.executable,
            str(ROOT / 'tools/train.py'),
            str(CONFIG),
            '--resume',
            '--seed',
            str(args.seed),
            '--work-dir',
            str(work_dir),
            '--cfg-options',
            *loaders,
            f'train_cfg.max_epochs={args.epochs}',
        ]

    def run(self, stop: Stop | None = None) -> tuple[bool, float]:
        """Start the training; kill it, or wait for its end.

        Args:
            stop (Stop, optional): When to kill it. Defaults to None.

        Returns:
            tuple[bool, float]: Whether it was killed, and how long it ran
            from its first line in the log, or, without ``stop``, from its
            first iteration.
        """
        logs, steps = len(self.logs()), len(self.losses())
        self.work_dir.mkdir(parents=True, exist_ok=True)
        output = self.work_dir / 'output.txt'
        with output.open('w') as file:
            process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    'OMP_NUM_THREADS': '1',
                    'PYTHONPATH': f'{ROOT}:{os.getenv("PYTHONPATH", "")}',
                },
            )
        while len(self.logs()) == logs and process.poll() is None:
            time.sleep(0.005)
        begin = start = time.perf_counter()
        if stop is None or not stop.starting_up:
            while len(self.losses()) == steps and process.poll() is None:
                time.sleep(0.005)
            start = time.perf_counter()
        killed = False
        if stop is None:
            begin = start
        else:
            while time.perf_counter() - start < stop.seconds and process.poll() is None:
                time.sleep(0.001)
            while stop.half_written and process.poll() is None and not self.parts():
                pass
            time.sleep(stop.wait)
            killed = process.poll() is None
            if killed:
                os.kill(process.pid, signal.SIGKILL)
        code = process.wait()
        if not killed and code:
            raise RuntimeError('The training failed: ' + output.read_text()[-3000:])
        return killed, time.perf_counter() - begin

    def logs(self) -> list[Path]:
        return sorted(self.work_dir.glob('*/*.log'))

    def parts(self) -> list[str]:
        return [name for name in os.listdir(self.work_dir) if name.endswith('.part')]

    def losses(self) -> list[tuple[int, float]]:
        """Iteration and loss of all processes, one after the other."""
        return [(line['step'], line['loss']) for line in self._scalars() if 'loss' in line]

    def _scalars(self) -> Iterator[dict]:
        for path in sorted(self.work_dir.glob('*/vis_data/scalars.json')):
            for line in path.read_text().splitlines():
                if line.endswith('}'):  # the last line may be cut off
                    yield json.loads(line)

    def resumed_from(self) -> str:
        """Checkpoint that the last process resumed from."""
        lines = [
            line
            for line in self.logs()[-1].read_text().splitlines()
            if 'Load checkpoint from' in line
        ]
        return Path(lines[-1].split()[-1]).name if lines else ''

    def final(self) -> dict[str, Any]:
        """Contents of the last checkpoint, without clocks and paths."""
        path = Path((self.work_dir / 'last_checkpoint').read_text())
        content = dict(leaves(torch.load(path, weights_only=True)))
        return {
            name: value
            for name, value in content.items()
            if not any(clock in name for clock in CLOCKS)
        }


def leaves(node: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """Yield all values in nested dicts, lists and log histories, by their path."""
    if hasattr(node, 'data') and hasattr(node, '_log_history'):
        node = dict(history=node._log_history, count=node._count_history)
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f'{name}{key}/')
    elif isinstance(node, (list, tuple)):
        for key, value in enumerate(node):
            yield from leaves(value, f'{name}{key}/')
    else:
        yield name, node


def same(one: Any, two: Any) -> bool:
    """Whether two values have the same bits."""
    if isinstance(one, torch.Tensor):
        one, two = one.numpy(), two.numpy()
    if isinstance(one, np.ndarray):
        return one.dtype == two.dtype and one.tobytes() == two.tobytes()
    return one == two and type(one) is type(two)


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of all values that differ or are on one side only."""
    return [
        name
        for name in {**one, **two}
        if name not in one or name not in two or not same(one[name], two[name])
    ]


def kill_chains(
    whole: Training, seconds: float, root: Path, data: Path, args: Any
) -> tuple[list[Kill], list[str]]:
    """Kill and resume until ``args.kills`` kills are done.

    Args:
        whole (Training): The uninterrupted training.
        seconds (float): Its run time from its first iteration on.
        root (Path): Folder for the chains.
        data (Path): Folder of the videos.
        args (Namespace): ``kills``, ``seed``, ``epochs``.

    Returns:
        tuple: The kills, and the differences.
    """
    draw = random.Random(args.seed)
    wanted, final = dict(whole.losses()), whole.final()
    kills: list[Kill] = []
    wrong: list[str] = []
    chain = 0
    with Progress() as bar:
        task = bar.add_task('Kills', total=args.kills)
        while len(kills) < args.kills:
            chain += 1
            training, killed = Training(root / f'chain_{chain}', data, args), True
            while killed:
                stop = None
                if len(kills) < args.kills:
                    kind = len(kills) % 10
                    # About eight kills per chain, spread over all of it.
                    stop = Stop(kind == 9, draw.uniform(0, seconds / 4), kind in (2, 6), 0.0)
                    if stop.half_written:
                        stop = stop._replace(wait=draw.uniform(0, 0.002))
                killed, ran = training.run(stop)
                if killed:
                    reached = [step for step, _ in training.losses()]
                    kills.append(
                        Kill(
                            chain,
                            training.resumed_from(),
                            ran,
                            reached[-1] if reached else 0,
                            training.parts(),
                        )
                    )
                    bar.advance(task)
            wrong += [
                f'chain {chain}: loss of iteration {step} is {loss}, not {wanted.get(step)}'
                for step, loss in training.losses()
                if loss != wanted.get(step)
            ]
            wrong += [
                f'chain {chain}: {name} differs' for name in differences(training.final(), final)
            ]
            shutil.rmtree(training.work_dir)
    return kills, wrong


def show(kills: list[Kill], wrong: list[str], final: dict[str, Any]) -> None:
    print(
        '| kill | chain | began with | ran | last iteration | '
        'half written |\n| --- | --- | --- | --- | --- | --- |'
    )
    for number, kill in enumerate(kills, start=1):
        print(
            f'| {number} | {kill.chain} | {kill.resumed_from or "nothing"} '
            f'| {kill.seconds:.2f} s | {kill.iteration} | '
            f'{", ".join(kill.half_written)} |'
        )
    tenths = Counter(
        min(9, 10 * kill.iteration // (max(k.iteration for k in kills) + 1)) for kill in kills
    )
    writing = sum(bool(kill.half_written) for kill in kills)
    print(
        f'\n{len(kills)} kills in {kills[-1].chain} chains, {writing} of '
        'them while a checkpoint was written; by tenths of the training: '
        + ', '.join(str(tenths[tenth]) for tenth in range(10))
    )
    print(
        f'{len(final)} values of the last checkpoint and all logged losses '
        'compared bit by bit: ' + ('all equal' if not wrong else f'{len(wrong)} differ')
    )
    print(*wrong[:20], sep='\n')


def make_data(out: Path) -> None:
    """Make 40 videos of 8 frames of 32x32, 4 of each class for training and 1 for validation."""
    options = '--size 32 --frames 8 --train-per-class 4 --val-per-class 1'.split()
    tool = ROOT / 'tools/data/make_quickstart.py'
    subprocess.run(
        [sys.executable, tool, '--out', out, *options], check=True, stdout=subprocess.DEVNULL
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0, help='seed of the training and of the kills')
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/kill_and_resume'),
        help='emptied first; default: %(default)s',
    )
    parser.add_argument('--json', type=Path, help='file for all kills')
    args = parser.parse_args()
    root = args.work_dir.resolve()
    shutil.rmtree(root, ignore_errors=True)
    data = root / 'data'
    make_data(data)
    whole = Training(root / 'whole', data, args)
    seconds = whole.run()[1]
    kills, wrong = kill_chains(whole, seconds, root, data, args)
    show(kills, wrong, whole.final())
    if args.json:
        args.json.write_text(
            json.dumps(
                dict(kills=[kill._asdict() for kill in kills], differences=wrong, seconds=seconds),
                indent=1,
            )
        )
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
