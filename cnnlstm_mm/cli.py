"""Entry point shared by the command-line tools: arguments, errors, exit codes."""

import argparse
import dis
import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnlstm_mm.storage.atomic import FULL

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = tuple(ROOT / name for name in ('cnnlstm_mm', 'tools', 'examples', 'benchmarks'))
KINDS = (ArithmeticError, ImportError, OSError, RuntimeError, TypeError, ValueError)
# What a user can mend, wherever it comes up.
DISK = (
    *FULL,
    errno.EIO,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EROFS,
    errno.ESTALE,
)
RAISE = dis.opmap['RAISE_VARARGS']


def add_cfg_options(
    parser: argparse.ArgumentParser, configs: str = 'the config', more: str = ''
) -> None:
    """Add --cfg-options.

    Args:
        parser: Receives it.
        configs: What it changes, for the help.
        more: Further sentences of the help, with the punctuation before them.
    """
    from mmengine.config import DictAction

    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help=f'override settings of {configs}, as key=value{more}',
    )


def add_label_file(parser: argparse.ArgumentParser) -> None:
    """Add --label-file."""
    parser.add_argument(
        '--label-file',
        '--label-map',
        help='class names, one a line; default: those of the data, or label_map.txt beside their '
        'list',
    )


def check_needed(
    args: argparse.Namespace, parser: argparse.ArgumentParser, names: Sequence[str], needed: str
) -> None:
    """Refuse options that have no effect without another one, which is missing.

    Args:
        args: The parsed arguments.
        parser: Knows their defaults.
        names: Of the options, as in ``args``.
        needed: The other one, for the message.

    Raises:
        ValueError: For the first that is given.
    """
    for name in names:
        if getattr(args, name) != parser.get_default(name):
            option = name.replace('_', '-')
            raise ValueError(f'--{option}: expected {needed} with it, got none')


def run_command(
    tool: Callable[[argparse.Namespace], int | None],
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse the arguments, run a tool and report an expected error in one sentence.

    Args:
        tool: Takes the parsed arguments; an exit code that it returns is passed on.
        parser: Receives the option --traceback.
        argv: Without the name of the program; None reads ``sys.argv``.

    Returns:
        The exit code: 0, that of the tool, or 2 after an expected error, as after a wrong
        argument.
    """
    parser.add_argument(
        '--traceback', action='store_true', help='show the Python traceback of an error'
    )
    args = parser.parse_args(argv)
    try:
        return tool(args) or 0
    except Exception as error:
        if args.traceback or not expected(error):
            raise
        fix = '; fix: free some space and start again' if _is_full(error) else ''
        print(f'{parser.prog}: error: {error}{fix}', file=sys.stderr)
        return 2


def expected(error: Exception) -> bool:
    """Whether the message of an error is all that the user needs.

    Such are paths that cannot be opened, a full or broken disk, and what a ``raise`` statement of
    this package or of its tools raises. Another error from inside a library is not, whatever its
    type.
    """
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError)):
        return True
    if isinstance(error, OSError) and error.errno in DISK:
        return True
    if not isinstance(error, KINDS) or error.__traceback__ is None:
        return False
    innermost = error.__traceback__
    while innermost.tb_next:
        innermost = innermost.tb_next
    code = innermost.tb_frame.f_code
    ours = any(Path(code.co_filename).resolve().is_relative_to(folder) for folder in FOLDERS)
    return ours and code.co_code[innermost.tb_lasti] == RAISE


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in FULL and 'fix: ' not in str(error)
