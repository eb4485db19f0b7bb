"""Train and test all configs of a list, over splits and seeds; then report.

    cnnlstm-mm benchmark configs/benchmarks/here.yml --jobs 2
    cnnlstm-mm benchmark configs/benchmarks/ucf101.yml --launcher pytorch --gpus 8
    cnnlstm-mm benchmark configs/benchmarks/ucf101.yml --dry-run
    cnnlstm-mm benchmark configs/benchmarks/egogestar.yml --folds 5

Start it again to continue: finished runs are skipped, killed ones resume from
their last epoch. A failed run does not stop the others; the exit code is then
1.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.lab.benchmark import (
    GROUP,
    Launch,
    Outcome,
    Run,
    commands,
    execute,
    fold_table,
    plan_runs,
    read_benchmark,
    read_state,
    stop_on_signals,
)
from cnnlstm_mm.resources import resource_root
from cnnlstm_mm.storage import write_json


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Train and test all configs of a list, then report'
    )
    parser.add_argument(
        'lists',
        nargs='+',
        type=Path,
        metavar='LIST',
        help='list files, such as those of configs/benchmarks',
    )
    parser.add_argument(
        '--only',
        nargs='+',
        metavar='WORD',
        help='only configs with one of these words in their name',
    )
    parser.add_argument('--splits', nargs='+', type=int, help="splits, instead of the list's")
    parser.add_argument('--seeds', nargs='+', type=int, help="seeds, instead of the list's")
    parser.add_argument(
        '--folds',
        type=int,
        default=0,
        metavar='K',
        help='cross-validate on the training lists alone: train on K - 1 folds, test on the other',
    )
    parser.add_argument(
        '--groups',
        default=GROUP,
        metavar='REGEX',
        help='finds, in the name of a clip, the group that --folds keeps together; default: the '
        'group of UCF101, or the number at the end of the name',
    )
    parser.add_argument(
        '--work-root',
        type=Path,
        default=Path('work_dirs/benchmarks'),
        help='runs go to WORK_ROOT/LIST/CONFIG...; default: %(default)s',
    )
    parser.add_argument('--jobs', type=int, default=1, help='number of concurrent runs')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm'],
        default='none',
        help='how each run starts its processes',
    )
    parser.add_argument('--gpus', type=int, default=1, help='processes per run, one per GPU')
    parser.add_argument('--partition', help='Slurm partition')
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the batch size of all processes',
    )
    add_cfg_options(parser, 'all configs')
    parser.add_argument(
        '--dry-run', action='store_true', help='print the plan with its commands, and run nothing'
    )
    return parser


def chosen(runs: list[Run], words: list[str]) -> list[Run]:
    """Keep the runs whose config has one of the words in its name.

    Raises:
        ValueError: If no config matches.
    """
    kept = [run for run in runs if any(word in run.config.stem for word in words)]
    if not kept:
        names = sorted({run.config.stem for run in runs})
        raise ValueError(
            f'expected a config with one of --only {" ".join(words)} in its name, got '
            f'{", ".join(names)}'
        )
    return kept


def say_plan(runs: list[Run], launch: Launch, console: Console) -> None:
    """Print each run, its progress and the remaining commands."""
    for run in runs:
        state = read_state(run)
        console.print(f'{run.name}: {state.words(run)}', highlight=False)
        if state.tested or state.other:
            continue
        left = commands(run, launch)[state.steps >= run.length :]
        for command in left:
            print('   ', shlex.join(command))


def summary(outcomes: list[Outcome], console: Console) -> None:
    """Print the number of runs by outcome, and each failed run with its reason."""
    failed = [o for o in outcomes if o.words == 'failed']
    counts = {
        words: sum(o.words == words for o in outcomes)
        for words in ('done', 'was done', 'failed', 'stopped')
    }
    console.print(', '.join(f'{n} {words}' for words, n in counts.items() if n), highlight=False)
    if failed:
        table = Table('failed run', 'reason', 'log', title=None)
        for outcome in failed:
            table.add_row(
                outcome.run.name, outcome.error, str(outcome.log or '-'), end_section=True
            )
        console.print(table)


def report(runs: list[Run], args: argparse.Namespace) -> int:
    """Call cnnlstm-mm report on all runs that have begun."""
    begun = [str(run.work_dir) for run in runs if any(run.work_dir.glob('*/vis_data'))]
    if not begun:
        return 0
    out = args.work_root
    command = [
        sys.executable,
        str(resource_root() / 'tools/report.py'),
        *begun,
        '--planned',
        *map(str, args.lists),
        '--json',
        str(out / 'results.json'),
        '--html',
        str(out / 'report.html'),
        '--metafile',
        str(out / 'metafile.yml'),
    ]
    return subprocess.run(command).returncode


def report_folds(runs: list[Run], args: argparse.Namespace, console: Console) -> int:
    """Print the cross-validated accuracies, and write them to WORK_ROOT/folds.json."""
    from cnnlstm_mm.lab.report import read_run

    results = [
        (run.config.stem, run.seed, run.fold, top1)
        for run in runs
        if run.fold is not None
        and read_state(run).tested
        and (top1 := read_run(run.work_dir, run.config.parent)[0].top1) is not None
    ]
    if not results:
        return 0
    rows = fold_table(results)
    table = Table('config', 'top-1', 'over seeds', 'seeds', 'folds', 'clips')
    for row in rows:
        spread = '' if row['spread'] is None else f'+- {100 * row["spread"]:.1f}'
        counts = (str(row[name]) for name in ('seeds', 'folds', 'clips'))
        table.add_row(row['config'], f'{100 * row["top1"]:.1f} %', spread, *counts)
    console.print(table)
    write_json(args.work_root / 'folds.json', rows, indent=1)
    return 0


def run_lists(args: argparse.Namespace) -> int:
    """Run the lists, or print the plan."""
    if args.jobs < 1:
        raise ValueError(f'expected --jobs to be at least 1, got {args.jobs}')
    console = Console()
    flags = tuple(
        flag for flag, on in (('--amp', args.amp), ('--auto-scale-lr', args.auto_scale_lr)) if on
    )
    launch = Launch(args.launcher, args.gpus, args.partition, flags)
    runs = [
        run
        for path in args.lists
        for run in plan_runs(
            read_benchmark(path),
            args.work_root,
            args.splits,
            args.seeds,
            args.cfg_options,
            args.folds,
            args.groups,
            flags,
        )
    ]
    if args.only:
        runs = chosen(runs, args.only)
    devices = job_devices(args)
    if args.dry_run:
        say_plan(runs, launch, console)
        return 0
    stop_on_signals()
    outcomes = execute(runs, launch, args.jobs, devices, console)
    summary(outcomes, console)
    code = report_folds(runs, args, console) if args.folds else report(runs, args)
    if any(outcome.words == 'stopped' for outcome in outcomes):
        console.print('Stopped. Run the same command again to continue.')
        return 130
    return 1 if code or any(o.failed for o in outcomes) else 0


def job_devices(args: argparse.Namespace) -> list[str] | None:
    """CUDA devices to share among the jobs; None if each job sees all.

    Raises:
        ValueError: If the jobs need more GPUs than are visible.
    """
    if args.launcher == 'slurm':
        return None
    import torch

    count = torch.cuda.device_count()
    if count == 0:
        return None
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    devices = visible.split(',') if visible else [str(k) for k in range(count)]
    if len(devices) < args.jobs * args.gpus:
        raise ValueError(
            f'expected {args.jobs * args.gpus} GPUs for --jobs {args.jobs} x --gpus {args.gpus}, '
            f'got {len(devices)}; fix: lower --jobs or --gpus'
        )
    return devices


def main(argv: list[str] | None = None) -> int:
    return run_command(run_lists, argument_parser(), argv)
