"""The command ``cnnlstm-mm``: each subcommand is the ``main`` of a module of ``commands``.

Only the module of the subcommand is imported.
"""

import difflib
import os
import sys
from importlib import import_module
from pathlib import Path

from cnnlstm_mm.version import __version__

# 'prepare ucf101' is commands/prepare/ucf101.py.
COMMANDS = (
    'train',
    'test',
    'predict',
    'caption',
    'vocabulary',
    'stream',
    'extract',
    'merge',
    'export',
    'export-web',
    'export-captions',
    'push',
    'pull',
    'report',
    'benchmark',
    'doctor',
    'configs',
    'weights',
    'prepare quickstart',
    'prepare folder',
    'prepare caption-quickstart',
    'prepare embeddings',
    'prepare ucf101',
    'prepare hmdb51',
    'prepare kinetics',
    'prepare msvd',
    'prepare msrvtt',
    'prepare vatex',
    'prepare sthv2',
    'prepare jester',
    'prepare diving48',
    'prepare rwf2000',
    'convert keras',
    'convert checkpoint',
    'events',
    'analysis activity',
    'analysis attention',
    'analysis complexity',
    'analysis early-recognition',
    'analysis temporal-probe',
)
# Read by libraries when they are loaded, before a command can set it: waiting threads would take
# cores from the decoding workers.
ENVIRONMENT = {'extract': dict(OMP_WAIT_POLICY='PASSIVE')}


def module_of(command: str) -> str:
    """The module of a subcommand, below ``cnnlstm_mm.commands``."""
    return command.replace(' ', '.').replace('-', '_')


def summary(command: str) -> str:
    """First line of the module's docstring; the module is not imported."""
    path = Path(__file__).parent / 'commands' / f'{module_of(command).replace(".", "/")}.py'
    return path.read_text(encoding='utf-8').split('"""')[1].splitlines()[0].rstrip('.')


def usage(group: str = '') -> str:
    """The subcommands, or those of a group such as ``prepare``."""
    names = [name for name in COMMANDS if name.startswith(group)]
    width = max(map(len, names))
    rows = '\n'.join(f'  {name:{width}}  {summary(name)}' for name in names)
    return (
        f'usage: cnnlstm-mm {group or "[--version] COMMAND"} ...\n\n{rows}\n\n'
        'cnnlstm-mm COMMAND --help shows the options of a command.'
    )


def find_command(words: list[str]) -> str:
    """The subcommand that the words begin with, or ''."""
    return next((c for n in (2, 1) if (c := ' '.join(words[:n])) in COMMANDS), '')


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = find_command(words)
    if command:
        sys.argv = [f'cnnlstm-mm {command}', *words[command.count(' ') + 1 :]]
        for name, value in ENVIRONMENT.get(command, {}).items():
            os.environ.setdefault(name, value)
        return import_module(f'cnnlstm_mm.commands.{module_of(command)}').main(sys.argv[1:])
    groups = {name.split()[0] for name in COMMANDS if ' ' in name}
    first, *others = words or ['']
    others = [word for word in others if word not in ('-h', '--help')]
    if first in groups and not others:
        print(usage(f'{first} '))
    elif first in ('-h', '--help', ''):
        print(usage())
    elif first == '--version':
        print(f'cnnlstm-mm {__version__}')
    else:
        given = ' '.join(words[: 2 if first in groups else 1])
        close = difflib.get_close_matches(given, COMMANDS, 3)
        fix = f'take {" or ".join(close)}' if close else '`cnnlstm-mm --help` lists them'
        print(f'cnnlstm-mm: error: expected a command, got {given!r}; fix: {fix}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
