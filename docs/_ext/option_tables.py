"""Options of the commands from their own parsers; links out of docs/ lead to their pages."""

import argparse
import re
import sys
from importlib import import_module
from unittest.mock import patch

from cnnlstm_mm.__main__ import COMMANDS, module_of, summary

# Pages that show a file outside of docs/; links to the file lead to them.
PAGES = {
    'benchmarks/gpu/README.md': '/guide/gpu.md',
    'CONTRIBUTING.md': '/community/contributing.md',
    'CHANGELOG.md': '/community/changelog.md',
    'SECURITY.md': '/community/security.md',
}


class Stopped(BaseException):
    """Carries what a command was about to run with."""


def stop(method, command, argv, take):
    """Call a command's main up to its parsing and return what ``take(parser, argv)`` gives."""

    def instead(parser, args=None, namespace=None):
        raise Stopped(take(parser, argv))

    old, sys.argv = sys.argv, [f'cnnlstm-mm {command}', *argv]
    try:
        with patch.object(argparse.ArgumentParser, method, instead):
            import_module(f'cnnlstm_mm.commands.{module_of(command)}').main(argv)
    except Stopped as stopped:
        return stopped.args[0]
    finally:
        sys.argv = old
    raise RuntimeError(f'{command} parses no arguments')


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command, as its main has it."""
    return stop('parse_args', command, [], lambda parser, argv: parser)


def parse(command: str, argv: list[str]) -> argparse.Namespace:
    """Parse arguments as the command does, which is not run.

    Raises:
        SystemExit: If it would refuse them.
    """
    known = argparse.ArgumentParser.parse_known_args

    def take(parser, argv):
        args, rest = known(parser, argv)
        if rest:
            parser.error(f'unrecognized arguments: {" ".join(rest)}')
        return args

    return stop('parse_args', command, argv, take)


def listing(command: str) -> str:
    """One command: its line, its usage and its options."""
    parser = parser_of(command)
    formatter = parser._get_formatter()
    items = []
    for action in parser._actions:
        names = formatter._format_action_invocation(action)
        text = formatter._expand_help(action) if action.help else ''
        text = re.sub(r'([<*_\\`])', r'\\\1', ' '.join(text.split()))
        items.append(f'`{names}`\n: {text}\n')
    usage = re.sub(r'\n +', '\n    ', parser.format_usage().replace('usage: ', ''))
    head = f'## {command}\n\n{summary(command)}.\n\n```text\n{usage}```\n\n'
    return head + '\n'.join(items)


def one_line(row: str) -> str:
    """A row of a table whose figures are not parted from their units, in narrow columns."""
    row = re.sub(r'(?<=\d) (x|ms|s|%|[kMG]B?)(?= [|/(])', '\u00a0\\1', row)
    return row.replace(' ± ', '\u00a0±\u00a0').replace(' top-', ' top\u2011')


def fill(app, docname: str, source: list[str]) -> None:
    """Append the options to their page; lead links to files outside of docs/ to their pages."""
    for file, page in PAGES.items():
        source[0] = re.sub(rf'\]\((\.\./)+{re.escape(file)}', f']({page}', source[0])
    source[0] = re.sub(r'^ *\|.*$', lambda row: one_line(row[0]), source[0], flags=re.M)
    if docname == 'reference/commands':
        source[0] += '\n' + '\n'.join(map(listing, COMMANDS))


def setup(app) -> dict:
    """Connect to Sphinx."""
    app.connect('source-read', fill)
    return dict(parallel_read_safe=True)
