r"""Limits of activity from training clips, by which a stream tells pauses without a class for them.

    cnnlstm-mm analysis activity data/quickstart/videos/*/*_c01.avi --out activity.json
    cnnlstm-mm stream SOURCE CONFIG CHECKPOINT --events --activity activity.json

Black, frozen and noisy pictures are outside of the limits; a moving camera or
people who do something else are not: train a class for them.
"""

import argparse
import json
from pathlib import Path

from rich.progress import track

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.storage import write_json
from cnnlstm_mm.streaming.activity import calibrate


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Limits of activity from training clips')
    parser.add_argument('videos', nargs='+', help='clips of actions, without pauses')
    parser.add_argument('--out', type=Path, required=True, help='the file (.json)')
    parser.add_argument(
        '--every', type=int, default=1, help='use every so many frames, as the stream will'
    )
    return parser


def measure(args: argparse.Namespace) -> None:
    """Calibrate, write and print."""
    limits = calibrate(track(args.videos, 'clips'), args.every)
    write_json(args.out, limits, indent=2)
    print(f'wrote {args.out}: {json.dumps(limits)}')


def main(argv: list[str] | None = None) -> int:
    return run_command(measure, argument_parser(), argv)
