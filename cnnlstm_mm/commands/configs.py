"""List the recipes, which other commands take by name."""

import argparse

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.resources import recipes


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('words', nargs='*', help='only names that hold all of these')
    parser.add_argument('--paths', action='store_true', help='print the files')
    return parser


def show(args: argparse.Namespace) -> int:
    """Print the names, or the files; 1 if none matches."""
    found = {n: p for n, p in recipes().items() if all(word in n for word in args.words)}
    for name, path in found.items():
        print(path if args.paths else name)
    return int(not found)


def main(argv: list[str] | None = None) -> int:
    return run_command(show, argument_parser(), argv)
