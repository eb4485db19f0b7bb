"""Score events against annotated segments: mean overlap, precision and recall.

    cnnlstm-mm events TRUTH EVENTS --json scores.json --markdown scores.md

Both are .csv with a header, .json or .jsonl, with start and end in seconds and
label, and source (or video) where there are several. Events and segments are
paired one to one, the greatest overlaps first.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.lab.analysis.event_scores import read_segments, score_events
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.storage import check_outputs, write_json, write_text

METRICS = ('overlap', 'precision', 'recall')


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Score events against annotated segments')
    parser.add_argument('truth', help='annotated segments: .csv, .json or .jsonl')
    parser.add_argument('events', help='events, as --events-out of cnnlstm-mm stream writes them')
    parser.add_argument(
        '--overlap', type=float, default=0.5, help='overlap that counts as found; default: 0.5'
    )
    parser.add_argument('--json', type=Path, help='write the scores here')
    parser.add_argument('--markdown', type=Path, help='write the table here')
    return parser


def score(args: argparse.Namespace) -> None:
    """Read, score, print and write."""
    if not 0 < args.overlap <= 1:
        raise ValueError(f'--overlap: expected a number above 0 and up to 1, got {args.overlap}')
    files = {'--json': args.json, '--markdown': args.markdown}
    check_outputs((args.truth, args.events), files)
    scores = score_events(read_segments(args.truth), read_segments(args.events), args.overlap)
    rows = [
        [name, str(row['segments']), str(row['events'])]
        + ['' if row[key] is None else f'{row[key]:.3f}' for key in METRICS]
        for name, row in scores.items()
    ]
    at = f'at {args.overlap:g}'
    head = ['class', 'segments', 'events', 'mean overlap', f'precision {at}', f'recall {at}']
    table = markdown_table([head, *rows])
    print(table)
    if args.json:
        write_json(args.json, dict(threshold=args.overlap, scores=scores), indent=2)
    if args.markdown:
        write_text(args.markdown, table + '\n')


def main(argv: list[str] | None = None) -> int:
    return run_command(score, argument_parser(), argv)
