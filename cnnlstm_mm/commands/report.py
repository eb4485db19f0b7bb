"""Collect runs into tables, plots and one HTML page.

    cnnlstm-mm report WORK_DIR [WORK_DIR ...] --html report.html --json results.json
    cnnlstm-mm report --from docs/results/results.json --readme docs/results/index.md --check

Runs that are unfinished, use a subset of their data, or were made with another
version of their config are marked as such. Runs of one config are averaged
over splits and seeds.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.progress import track

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.config import datasets_of, read_config, test_pipeline
from cnnlstm_mm.lab.benchmark import read_benchmark
from cnnlstm_mm.lab.figures import save_figure
from cnnlstm_mm.lab.report import (
    check_readme,
    group_runs,
    load_results,
    plots,
    read_run,
    results_tables,
    runs_table,
    save_results,
    write_metafile,
    write_page,
    write_readme,
)
from cnnlstm_mm.lab.report.run_facts import data_name, list_of
from cnnlstm_mm.resources import resource_root
from cnnlstm_mm.storage import locked, write_text


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Collect runs into tables, plots and one HTML page'
    )
    parser.add_argument(
        'work_dirs',
        nargs='*',
        type=Path,
        metavar='WORK_DIR',
        help='work directories of cnnlstm-mm train',
    )
    parser.add_argument(
        '--from',
        dest='stored',
        type=Path,
        metavar='RESULTS_JSON',
        help='read a file written with --json instead of work directories',
    )
    parser.add_argument(
        '--planned',
        nargs='+',
        type=Path,
        default=[],
        metavar='LIST',
        help='lists of configs/benchmarks; configs in them without any run '
        'show as "not yet run", with the command',
    )
    parser.add_argument(
        '--configs',
        type=Path,
        default=Path('configs') if Path('configs').is_dir() else resource_root() / 'configs',
        help='the config files to compare with; default: %(default)s',
    )
    parser.add_argument('--json', type=Path, help='write the facts here')
    parser.add_argument('--markdown', type=Path, help='write the tables here')
    parser.add_argument(
        '--metafile', type=Path, help='write a metafile.yml here, and model-index.yml beside it'
    )
    parser.add_argument('--html', type=Path, help='write an HTML page with everything here')
    parser.add_argument('--plot', type=Path, help='write the curves here')
    parser.add_argument(
        '--pictures',
        type=Path,
        metavar='DIR',
        help='write curves, confusion matrices and per-class bars here',
    )
    parser.add_argument(
        '--readme', type=Path, help='write the tables between the two markers of this file'
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing; exit with 1 if the tables of --readme differ',
    )
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for options that do not go together."""
    if bool(args.work_dirs) == bool(args.stored):
        raise ValueError('expected either work directories or --from RESULTS_JSON')
    if args.stored and (args.html or args.plot or args.pictures):
        raise ValueError(
            'expected work directories with --html, --plot and --pictures, got --from: a results '
            'file holds no curves'
        )
    if args.check and not args.readme:
        raise ValueError('expected --readme FILE with --check')


def planned_rows(lists: list[Path], done: list[str]) -> list[dict[str, Any]]:
    """Group the configs without a run by list and data set.

    Args:
        lists (list[Path]): Files of configs/benchmarks.
        done (list[str]): Names of the configs with a run.

    Returns:
        list[dict]: ``data``, ``configs`` and ``command``.
    """
    rows: list[dict[str, Any]] = []
    for path in lists:
        found: dict[str, list[str]] = {}
        for config in read_benchmark(path).configs:
            if config.stem not in done:
                cfg = read_config(config)
                tested = [list_of(dataset) for dataset in datasets_of(cfg, 'test')]
                found.setdefault(data_name(tested), []).append(config.stem)
        rows += [
            dict(
                data=data,
                configs=names,
                command=(f'python tools/run_benchmark.py {path.as_posix()}'),
            )
            for data, names in found.items()
        ]
    return rows


def counter() -> Any:
    """Count each model once: runs of one config share it."""
    from cnnlstm_mm.lab.analysis.complexity import complexity

    known: dict[str, dict] = {}

    def count(cfg: Config) -> dict:
        key = str(cfg.model) + str(test_pipeline(cfg))
        if key not in known:
            known[key] = complexity(cfg)
        return known[key]

    return count


def report(args: argparse.Namespace) -> int:
    """Print the runs and write the requested files."""
    check_arguments(args)
    written = (args.json, args.markdown, args.metafile, args.readme, args.html, args.plot)
    with ExitStack() as locks:
        for path in () if args.check else filter(None, written):
            locks.enter_context(locked(path, 'report', file=True))
        return write(args)


def between_markers(args: argparse.Namespace, tables: dict, planned: list) -> str:
    """The tables of --readme, whose links start from its folder."""
    return results_tables(tables, planned, files=False, folder=args.readme.parent)


def write(args: argparse.Namespace) -> int:
    """Read the runs and write files that this process holds."""
    read = []
    if args.stored:
        runs, planned = load_results(args.stored)
    else:
        wanted = args.json or args.markdown or args.html or args.readme or args.metafile
        count = counter() if wanted else None
        read = [
            read_run(work_dir, args.configs, count)
            for work_dir in track(args.work_dirs, 'Reading runs', disable=len(args.work_dirs) < 4)
        ]
        runs, planned = [run for run, _ in read], []
    if args.planned:
        planned = planned_rows(args.planned, [Path(run.config).stem for run in runs])
    tables = group_runs(runs)
    if args.check:
        difference = check_readme(args.readme, between_markers(args, tables, planned))
        if difference:
            print(f'{args.readme} has other tables than these runs:\n{difference}', file=sys.stderr)
            return 1
        print(f'{args.readme} has the tables of these runs.')
        return 0
    print(runs_table(runs, args.work_dirs or None))
    for run in runs:
        if run.predictions:
            print(f'{run.work_dir}: classes and confusion matrix from {run.predictions}')
    if args.json:
        save_results(args.json, runs, planned)
    if args.markdown:
        write_text(args.markdown, results_tables(tables, planned))
    if args.metafile:
        write_metafile(args.metafile, tables)
    if args.readme:
        write_readme(args.readme, between_markers(args, tables, planned))
    if args.pictures:
        for name, figure in plots.all_pictures(read, tables):
            save_figure(figure, args.pictures / f'{name}.png')
    if args.html:
        write_page(args.html, read, tables, planned)
        print(f'Page: {args.html}')
    if args.plot:
        save_figure(plots.plot_curves(read), args.plot)
        print(f'Curves: {args.plot}')
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(report, argument_parser(), argv)
