r"""Name the actions in videos: files, folders, patterns, or lists with or without labels.

    python tools/predict.py CONFIG CHECKPOINT VIDEO FOLDER "clips/**/*.mp4" LIST.txt
    python tools/predict.py CONFIG CHECKPOINT FOLDER --csv answers.csv --jsonl answers.jsonl

The scores are those of tools/test.py. Files that cannot be read are named, the
others are answered, and the exit code is 3. With --jsonl a run that was stopped
goes on where it was: files that stand in it are not computed again.
"""

import argparse
import os
import sys
from contextlib import ExitStack, redirect_stdout

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.config import check_classifier
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.launch import apply_flip_labels, load_config
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.options import check_int
from cnnlstm_mm.prediction.answers import AnswerFile, best_classes, is_special, table, write_csv
from cnnlstm_mm.prediction.inputs import find_inputs
from cnnlstm_mm.prediction.model import build_model, class_names, predict, settings_of, test_dataset
from cnnlstm_mm.storage import locked

BROKEN = 3  # exit code


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Name the actions in videos')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='input',
        help='a video, a folder of videos, a quoted pattern, or a list (.txt, .csv, .tsv)',
    )
    parser.add_argument('--topk', type=int, default=5, help='classes of each file; default: 5')
    parser.add_argument(
        '--label-map',
        help='class names, one a line; default: those of the test data, or label_map.txt beside '
        'their list',
    )
    parser.add_argument('--csv', help='write file, rank1_class, rank1_score, ... here')
    parser.add_argument(
        '--jsonl',
        help='write a JSON object a file here, and its settings beside it; a later run goes on '
        'with it',
    )
    parser.add_argument('--batch-size', type=int, help="videos a batch; default: the config's")
    parser.add_argument('--workers', type=int, help="decoding processes; default: the config's")
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    add_cfg_options(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise an error for numbers out of range and files that cannot be, before any work."""
    check_int(**{'--topk': args.topk})
    check_int(optional=True, **{'--batch-size': args.batch_size})
    check_int(0, optional=True, **{'--workers': args.workers})
    for name in ('csv', 'jsonl'):
        path = getattr(args, name)
        if path is not None and os.path.isdir(path):
            raise ValueError(f'--{name}: expected a file, got the folder {path}')
    if args.label_map is not None and not os.path.isfile(args.label_map):
        raise FileNotFoundError(f'--label-map: expected a file, got {args.label_map}')


def answer(args: argparse.Namespace) -> int:
    """Answer, with everything but the table on standard error."""
    check_arguments(args)
    with ExitStack() as stack:
        with redirect_stdout(sys.stderr):
            if args.jsonl is not None and not is_special(args.jsonl):
                stack.enter_context(locked(args.jsonl, 'predict', file=True))
            answers, broken = compute(args)
        if answers:
            print(table(answers))
        if args.csv is not None:
            topk = max(map(len, answers.values()), default=args.topk)
            write_csv(args.csv, answers, topk)
    for name, reason in broken.items():
        print(f'BROKEN {name}: {reason}', file=sys.stderr)
    if broken:
        total = len(answers) + len(broken)
        print(f'{len(broken)} of {total} files could not be read.', file=sys.stderr)
    return BROKEN if broken else 0


def compute(args: argparse.Namespace) -> tuple[dict, dict[str, str]]:
    """The best classes of each file, and why others have none, in the order of the inputs."""
    keep_freed_memory()
    cfg = load_config(args)
    apply_flip_labels(cfg)
    check_classifier(cfg)
    clips = find_inputs(args.inputs, test_dataset(cfg))
    model = build_model(cfg, args.checkpoint, args.device)
    num_classes = model.cls_head.num_classes
    labels = class_names(cfg, num_classes, args.label_map)
    if labels == [f'class {k}' for k in range(num_classes)]:
        print('No class names were found, so classes are numbers; fix: --label-map FILE')
    file = AnswerFile(args.jsonl, settings_of(cfg, args.checkpoint, labels, args.topk))
    left = [clip for clip in clips if clip['filename'] not in file.answers]
    if len(left) < len(clips):
        print(f'{len(clips) - len(left)} of {len(clips)} files are answered in {args.jsonl}.')
    broken = {}
    try:
        with (
            name_dead_decoders(),
            Progress(
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            ) as progress,
        ):
            bar = progress.add_task('Files', total=len(clips), completed=len(clips) - len(left))
            for batch in predict(model, cfg, left, args.batch_size, args.workers):
                for name, scores in batch:
                    if isinstance(scores, str):
                        broken[name] = scores
                    else:
                        file.add(name, best_classes(scores, labels, args.topk))
                progress.advance(bar, len(batch))
    finally:
        file.write()
    names = [clip['filename'] for clip in clips]
    return {name: file.answers[name] for name in names if name in file.answers}, broken


def main(argv: list[str] | None = None) -> int:
    return run_command(answer, argument_parser(), argv)
