r"""Name the actions in videos: files, folders, patterns, lists with or without labels, cameras.

    cnnlstm-mm predict CONFIG CHECKPOINT VIDEO FOLDER "clips/**/*.mp4" LIST.txt
    cnnlstm-mm predict CONFIG CHECKPOINT FOLDER --csv answers.csv --jsonl answers.jsonl
    cnnlstm-mm predict CONFIG CHECKPOINT rtsp://camera/stream --seconds 10
    cnnlstm-mm predict CONFIG CHECKPOINT long.mp4 --every 1 --timeline segments

The scores are those of cnnlstm-mm test. Files that cannot be read are named, the
others are answered, and the exit code is 3. With --jsonl a run that was stopped
goes on where it was: files that stand in it are not computed again.

--every SECONDS reads each video as a stream, in constant memory, and gives its
segments (start, end, class, score).
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, check_needed, run_command
from cnnlstm_mm.config import check_classifier, read_labels
from cnnlstm_mm.console import quiet, without_noise
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.launch import apply_flip_labels, load_config
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.options import check_fraction, check_int, check_number
from cnnlstm_mm.prediction.annotate import Drawn, annotate, lines_of_best, lines_of_segments
from cnnlstm_mm.prediction.answers import AnswerFile, best_classes, is_special, table, write_csv
from cnnlstm_mm.prediction.inputs import find_inputs
from cnnlstm_mm.prediction.model import build_model, predict, settings_of, test_dataset
from cnnlstm_mm.prediction.timeline_files import (
    segment_dict,
    timeline_table,
    write_csv_timeline,
    write_timeline,
)
from cnnlstm_mm.prediction.timelines import Timelines
from cnnlstm_mm.storage import check_outputs, locked
from cnnlstm_mm.streaming.captures import SourceError

BROKEN = 3  # exit code
COLUMNS = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

Answers = dict[str, list[dict[str, Any]]]


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Name the actions in videos')
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='input',
        help='a video, a folder of videos, a quoted pattern, a list (.txt, .csv, .tsv), or the '
        'address of a camera',
    )
    parser.add_argument('--topk', type=int, default=5, help='classes of each file; default: 5')
    parser.add_argument(
        '--label-map',
        '--label-file',
        help='class names, one a line; default: those of the data, or label_map.txt beside their '
        'list',
    )
    parser.add_argument(
        '--csv', help='write file, rank1_class, rank1_score, ... here, or a line for each segment'
    )
    parser.add_argument(
        '--jsonl',
        help='write a JSON object a file here, and its settings beside it; a later run goes on '
        'with it',
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='write the videos with their answers drawn on them'
    )
    parser.add_argument('--batch-size', type=int, help="videos a batch; default: the config's")
    parser.add_argument('--workers', type=int, help="decoding processes; default: the config's")
    parser.add_argument(
        '--seconds', type=float, default=10, help='how long cameras are recorded; default: 10'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    long = parser.add_argument_group('long videos')
    long.add_argument(
        '--every',
        type=float,
        metavar='SECONDS',
        help='divide each video into segments of at least this length, and answer with these',
    )
    long.add_argument(
        '--timeline',
        type=Path,
        metavar='DIR',
        help='write the segments of each video here: NAME.json, .srt subtitles and a picture, .png',
    )
    long.add_argument(
        '--window',
        type=float,
        metavar='SECONDS',
        help='what the model sees at once; default: as long as its training clips, or --every '
        'where their frames are spread over whole videos',
    )
    long.add_argument('--overlap', type=int, default=2, help='windows over each moment; default: 2')
    long.add_argument(
        '--min-score', type=float, default=0.5, help='least score of a segment; default: 0.5'
    )
    long.add_argument(
        '--none-class',
        help='the class for "nothing is happening", which has no segments; default: none_class of '
        'the config',
    )
    long.add_argument(
        '--activity',
        metavar='FILE',
        help='limits of cnnlstm-mm analysis activity: pictures that change less, or flicker more, '
        'than training clips belong to no segment',
    )
    add_cfg_options(parser)
    parser.set_defaults(work_dir=None, launcher='none', local_rank=0)  # of load_config
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise an error for numbers out of range and files that cannot be, before any work."""
    check_int(**{'--topk': args.topk, '--overlap': args.overlap})
    check_int(optional=True, **{'--batch-size': args.batch_size})
    check_int(0, optional=True, **{'--workers': args.workers})
    check_number(1e-3, **{'--seconds': args.seconds})
    check_fraction(**{'--min-score': args.min_score})
    for name in ('every', 'window'):
        if getattr(args, name) is not None:
            check_number(1e-3, **{f'--{name}': getattr(args, name)})
    if args.every is None:
        names = 'timeline window overlap min_score none_class activity'.split()
        check_needed(args, argument_parser(), names, '--every SECONDS')
    read = (args.config, args.checkpoint, *args.inputs, args.label_map, args.activity)
    files = {'--jsonl': args.jsonl, '--csv': args.csv}
    check_outputs(read, files, {'--out': args.out, '--timeline': args.timeline})
    for name in ('label_map', 'activity'):
        path = getattr(args, name)
        if path is not None and not os.path.isfile(path):
            raise FileNotFoundError(f'--{name.replace("_", "-")}: expected a file, got {path}')


def answer(args: argparse.Namespace) -> int:
    """Answer, with everything but the table on standard error."""
    check_arguments(args)
    with ExitStack() as stack:
        with redirect_stdout(sys.stderr), without_noise():
            quiet()
            if args.jsonl is not None and not is_special(args.jsonl):
                stack.enter_context(locked(args.jsonl, 'predict', file=True))
            clips, answers, broken = compute(args)
            write_files(args, clips, answers, broken)
        if args.every is not None:
            print_timelines(answers)
        elif answers:
            print(table(answers))
        if args.csv is not None and args.every is not None:
            write_csv_timeline(args.csv, answers)
        elif args.csv is not None:
            topk = max(map(len, answers.values()), default=args.topk)
            write_csv(args.csv, answers, topk)
    for name, reason in broken.items():
        print(f'BROKEN {name}: {reason}', file=sys.stderr)
    if broken:
        total = len({*answers, *broken})
        print(f'{len(broken)} of {total} files could not be read.', file=sys.stderr)
    return BROKEN if broken else 0


def compute(args: argparse.Namespace) -> tuple[list[dict[str, Any]], Answers, dict[str, str]]:
    """The clips, the answer of each file, and why others have none, in the order of the inputs."""
    keep_freed_memory()
    cfg = load_config(args)
    apply_flip_labels(cfg)
    check_classifier(cfg)
    clips = find_inputs(args.inputs, test_dataset(cfg))
    if args.every is None:
        model = build_model(cfg, args.checkpoint, args.device)
        num_classes = model.cls_head.num_classes
    else:
        names = 'every window overlap min_score none_class activity seconds'.split()
        options = {name: getattr(args, name) for name in names}
        model = Timelines(cfg, args.checkpoint, args.device, **options)
        num_classes = model.rec.num_classes
    labels = read_labels(cfg, num_classes, args.label_map)
    if labels == [f'class {k}' for k in range(num_classes)]:
        print('No class names were found, so classes are numbers; fix: --label-map FILE')
    if args.every is None:
        options, key = dict(topk=args.topk), 'topk'
    else:
        options, key = model.settings(), 'segments'
    file = AnswerFile(args.jsonl, settings_of(cfg, args.checkpoint, labels, **options), key)
    left = [clip for clip in clips if clip['filename'] not in file.answers]
    if len(left) < len(clips):
        print(f'{len(clips) - len(left)} of {len(clips)} files are answered in {args.jsonl}.')
    broken: dict[str, str] = {}
    with (
        name_dead_decoders(),
        Progress(
            TextColumn('{task.description}'), *COLUMNS, console=Console(stderr=True)
        ) as progress,
    ):
        bar = progress.add_task('Files', total=len(clips), completed=len(clips) - len(left))
        if args.every is None:
            found = best_of_files(args, model, cfg, left, labels)
        else:
            found = segments_of_files(model, left, labels, progress)
        for name, result in found:
            if isinstance(result, str):
                broken[name] = result
            else:
                file.add(name, result)
            progress.advance(bar)
    names = [clip['filename'] for clip in clips]
    return clips, {name: file.answers[name] for name in names if name in file.answers}, broken


def best_of_files(
    args: argparse.Namespace, model: Any, cfg: Config, clips: list[dict], labels: list[str]
) -> Iterator[tuple[str, list[dict[str, Any]] | str]]:
    """The best classes of each clip, or the reason why there are none."""
    for batch in predict(model, cfg, clips, args.batch_size, args.workers, args.seconds):
        for name, scores in batch:
            known = isinstance(scores, str)
            yield name, scores if known else best_classes(scores, labels, args.topk)


def segments_of_files(
    timelines: Any, clips: list[dict], labels: list[str], progress: Progress
) -> Iterator[tuple[str, list[dict[str, Any]] | str]]:
    """The segments of each clip, or the reason why there are none."""
    bar = progress.add_task('Frames', total=None)
    for clip in clips:
        name = clip['filename']
        progress.reset(bar, total=None, description=os.path.basename(name))

        def advance(total: int | None) -> None:
            progress.update(bar, advance=1, total=total)

        try:
            found = timelines.segments(clip.get('address', name), labels, advance)
            yield name, [segment_dict(event) for event in found]
        except SourceError as error:
            yield name, str(error).splitlines()[0]
    progress.remove_task(bar)


def write_files(
    args: argparse.Namespace, clips: list[dict], answers: Answers, broken: dict[str, str]
) -> None:
    """Write what --timeline and --out ask for, and is not there since the last run."""
    if args.timeline is None and args.out is None:
        return
    files = {clip['filename'] for clip in clips if 'address' not in clip}
    parents = [os.path.dirname(os.path.abspath(name)) for name in files]
    root = os.path.commonpath(parents) if parents else ''
    drawn = Drawn(args.out)
    for name in answers:
        if name not in files:
            continue
        place = Path(os.path.relpath(os.path.abspath(name), root))
        if args.timeline is not None:
            write_timeline(args.timeline / place.parent, place.name, name, answers[name])
        if args.out is None:
            continue
        out = args.out / place.parent / f'{place.name}.mp4'
        if args.jsonl is not None and drawn.shows(out, name, answers[name]):
            continue
        draw = lines_of_best if args.every is None else lines_of_segments
        try:
            annotate(name, out, draw(answers[name]))
            drawn.add(out, name, answers[name])
        except SourceError as error:
            broken[name] = str(error).splitlines()[0]


def print_timelines(answers: Answers) -> None:
    """A table for each video."""
    for number, (name, segments) in enumerate(answers.items()):
        if len(answers) > 1:
            print(f'{chr(10) if number else ""}{name}')
        print(timeline_table(segments))


def main(argv: list[str] | None = None) -> int:
    return run_command(answer, argument_parser(), argv)
