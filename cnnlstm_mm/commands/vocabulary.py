"""Make the vocabulary of a caption list.

    cnnlstm-mm vocabulary captions_train.jsonl --out vocabulary.json --min-count 2

Only the captions that are trained on belong into it. It is a file of the package tokenizers.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.captions.vocabulary import Vocabulary
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.datasets.caption_list import read_captions
from cnnlstm_mm.storage import write_text


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Make the vocabulary of a caption list')
    parser.add_argument('lists', nargs='+', metavar='list', help='.jsonl, .csv or .tsv')
    parser.add_argument('--out', type=Path, required=True, help='the file to write')
    parser.add_argument('--min-count', type=int, default=1, help='rarer words are unknown')
    parser.add_argument('--size', type=int, help='most words; default: all')
    return parser


def make(args: argparse.Namespace) -> None:
    """Write the vocabulary and say what it lacks."""
    captions = [
        text for name in args.lists for clip in read_captions(name) for text in clip.captions
    ]
    vocabulary = Vocabulary.build(captions, args.min_count, args.size)
    write_text(args.out, vocabulary.text + '\n')
    print(f'{args.out}: {len(vocabulary)} words of {len(captions)} captions')
    if vocabulary.unknown:
        print(vocabulary.describe_unknown())


def main(argv: list[str] | None = None) -> int:
    return run_command(make, argument_parser(), argv)
