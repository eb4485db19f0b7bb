r"""Describe videos in sentences: files, folders, patterns or lists.

    cnnlstm-mm caption VIDEO FOLDER CONFIG CHECKPOINT --beam 5 --n-best 3 --jsonl captions.jsonl
    cnnlstm-mm caption FILM.mp4 CONFIG CHECKPOINT --window 5 --srt subtitles

The captions are those of cnnlstm-mm test. Files that cannot be read are named, the others are
described, and the exit code is 3. With --window a long video is described part by part, and --srt
writes the captions as subtitles, VIDEO.srt; of videos of one name FOLDER/VIDEO.mp4.srt.
"""

import argparse
import json
import os
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.captions.inference import add_windows, load_captioner, windows
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.launch import load_config
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.options import check_int
from cnnlstm_mm.prediction.inputs import find_inputs
from cnnlstm_mm.prediction.model import predict, test_dataset
from cnnlstm_mm.storage import check_outputs, write_text
from cnnlstm_mm.text import subtitles

BROKEN = 3  # exit code
WINDOW = 10.0  # seconds, for --srt without --window


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Describe videos in sentences')
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='video',
        help='a video, a folder of videos, a quoted pattern, or a list (.txt, .csv, .tsv)',
    )
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--beam', type=int, help="width of the beam; default: the config's")
    parser.add_argument('--n-best', type=int, default=1, help='captions of each video; default: 1')
    parser.add_argument('--length-penalty', type=float, help='from 0 (none) to 1')
    parser.add_argument('--no-repeat', type=int, help='no run of so many words comes twice')
    parser.add_argument('--window', type=float, help='describe each part of so many seconds')
    parser.add_argument(
        '--srt', type=Path, help=f'write subtitles into this folder; parts of {WINDOW:.0f} s'
    )
    parser.add_argument('--jsonl', type=Path, help='write a JSON object a caption here')
    parser.add_argument('--batch-size', type=int, help="clips a batch; default: the config's")
    parser.add_argument('--workers', type=int, help="decoding processes; default: the config's")
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    add_cfg_options(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for numbers out of range and files that cannot be, before any work."""
    check_int(**{'--n-best': args.n_best})
    check_int(
        optional=True,
        **{'--beam': args.beam, '--batch-size': args.batch_size, '--no-repeat': args.no_repeat},
    )
    check_int(0, optional=True, **{'--workers': args.workers})
    if args.srt is not None and args.window is None:
        args.window = WINDOW
    if args.window is not None and not 0.1 <= args.window <= 1e6:
        raise ValueError(f'--window: expected seconds from 0.1 on, got {args.window}')
    read = (*args.inputs, args.config, args.checkpoint)
    check_outputs(read, {'--jsonl': args.jsonl}, {'--srt': args.srt})


def describe(args: argparse.Namespace) -> int:
    """Describe, with everything but the captions on standard error."""
    check_arguments(args)
    keep_freed_memory()
    with redirect_stdout(sys.stderr):
        cfg = load_config(args)
        search = dict(
            beam_width=args.beam,
            n_best=args.n_best,
            length_penalty=args.length_penalty,
            no_repeat_ngram=args.no_repeat,
        )
        model = load_captioner(cfg, args.checkpoint, args.device, **search)
        if args.window is not None:
            add_windows(cfg)
        clips, broken = find_clips(args, cfg)
    rows = []
    with ExitStack() as stack:
        stack.enter_context(name_dead_decoders())
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        bar = progress.add_task('Captions', total=len(clips))
        waiting = iter(clips)
        for batch in predict(model, cfg, clips, args.batch_size, args.workers):
            for (name, found), clip in zip(batch, waiting):
                if isinstance(found, str):
                    broken[name] = found
                else:
                    times: dict[str, Any] = {
                        key: round(clip[key], 3) for key in ('start', 'end') if key in clip
                    }
                    rows.append(dict(file=name, **times, captions=found))
            progress.advance(bar, len(batch))
    write(args, rows)
    for name, reason in broken.items():
        print(f'BROKEN {name}: {reason}', file=sys.stderr)
    return BROKEN if broken else 0


def find_clips(args: argparse.Namespace, cfg: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The clips, cut into windows if asked for, and why others cannot be read."""
    clips = find_inputs(args.inputs, test_dataset(cfg))
    broken: dict[str, str] = {}
    if args.window is None:
        return clips, broken
    parts = []
    for clip in clips:
        try:
            for frames, (start, end) in windows(clip['filename'], args.window):
                parts.append(dict(clip, window=frames, start=start, end=end))
        except (OSError, ValueError, RuntimeError) as error:
            broken[clip['filename']] = str(error).splitlines()[0]
    return parts, broken


def write(args: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Print the captions, and write the files."""
    for row in rows:
        times = f' {row["start"]:.1f}-{row["end"]:.1f} s' if 'start' in row else ''
        for one in row['captions']:
            score = f'  ({one["log_prob"]:.3f})' if args.n_best > 1 else ''
            print(f'{row["file"]}{times}: {one["caption"]}{score}')
    if args.jsonl is not None:
        lines = [json.dumps(row, ensure_ascii=False) + '\n' for row in rows]
        write_text(args.jsonl, ''.join(lines))
    if args.srt is not None:
        films: dict[str, list[tuple[float, float, str]]] = {}
        for row in rows:
            line = (row['start'], row['end'], row['captions'][0]['caption'])
            films.setdefault(row['file'], []).append(line)
        for name, path in subtitle_paths(list(films)).items():
            write_text(args.srt / path, subtitles(films[name]))


def subtitle_paths(names: list[str]) -> dict[str, str]:
    """FILM.srt of each film; of several of one name FOLDER/FILM.mp4.srt, below their common one."""
    stems = [Path(name).stem for name in names]
    twins = [os.path.abspath(n) for n, stem in zip(names, stems) if stems.count(stem) > 1]
    root = os.path.commonpath([os.path.dirname(path) for path in twins]) if twins else ''
    return {
        name: f'{stem}.srt'
        if stems.count(stem) == 1
        else f'{os.path.relpath(os.path.abspath(name), root)}.srt'
        for name, stem in zip(names, stems)
    }


def main(argv: list[str] | None = None) -> int:
    return run_command(describe, argument_parser(), argv)
