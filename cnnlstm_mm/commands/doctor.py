"""Check the environment and suggest a fix for each problem.

    cnnlstm-mm doctor
    cnnlstm-mm doctor configs/mobilenet_convlstm_ucf101.py
    cnnlstm-mm doctor --ann-file list.txt --videos DIR --json

It also runs where MMAction2, decord or PyTorch are missing or broken: checks
that may crash or hang the interpreter run in subprocesses. The exit code is 1
if a check fails.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial

from .doctor_checks import environment, machine, package
from .doctor_checks.result import Result

STYLES = dict(ok='green', warning='yellow', failed='bold red')


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Check the environment')
    parser.add_argument('config', nargs='?', help='check the files that this config needs')
    parser.add_argument('--ann-file', nargs='+', default=[], help='check these video lists')
    parser.add_argument('--videos', default='', help='root folder of the paths in the lists')
    parser.add_argument(
        '--delimiter', default=' ', help=r'between path and label, such as "\t"; default: a space'
    )
    parser.add_argument('--multi-class', action='store_true', help='several labels per line')
    parser.add_argument('--label-file', help='class names, one per line, for labels that are names')
    parser.add_argument(
        '--work-dir',
        default='work_dirs',
        help='folder of the runs, checked for space and write access',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    return parser


def examine(args: argparse.Namespace) -> list[Result]:
    """Run all checks in order; none of them raises."""
    checks: list[Callable[[], list[Result]]] = [
        environment.python,
        environment.versions,
        environment.opencv,
        environment.imports,
        package.fixes,
        machine.accelerator,
        machine.distributed,
        machine.decoder,
        lambda: machine.disk(args.work_dir),
        machine.shared_memory,
        lambda: machine.write_access(args.work_dir),
    ]
    if args.config:
        checks.append(lambda: package.config_files(args.config))
    options = (args.videos, args.delimiter, args.multi_class, args.label_file)
    checks += [partial(package.list_file, path, *options) for path in args.ann_file]
    results: list[Result] = []
    for check in checks:
        try:
            results += check()
        except Exception as error:  # the other checks still run
            name = getattr(check, '__name__', 'check')
            results.append(
                Result(
                    name,
                    'failed',
                    f'{type(error).__name__}: {error}',
                    'Report this as a bug of cnnlstm-mm doctor.',
                )
            )
    return results


def show(results: list[Result]) -> None:
    """Print a table, with rich if it is installed."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        for result in results:
            print(f'{result.state:8} {result.name}: {result.found}')
            if result.cure:
                print(f'         -> {result.cure}')
        return
    table = Table()
    for title in ('check', 'state', 'found', 'what to do'):
        table.add_column(title, overflow='fold')
    for result in results:
        style = STYLES[result.state]
        table.add_row(
            result.name,
            f'[{style}]{result.state}[/{style}]',
            result.found.replace('[', r'\['),
            result.cure.replace('[', r'\['),
        )
    Console().print(table)


def main(argv: list[str] | None = None) -> int:
    """Run the checks and print their results."""
    # Without cnnlstm_mm.cli: the package may not import.
    args = argument_parser().parse_args(argv)
    results = examine(args)
    failed = [r.name for r in results if r.state == 'failed']
    if args.json:
        print(json.dumps([r._asdict() for r in results], indent=2))
    else:
        show(results)
        warned = sum(r.state == 'warning' for r in results)
        print(f'{len(failed)} failed, {warned} warnings, {len(results) - len(failed) - warned} ok.')
    return int(bool(failed))
