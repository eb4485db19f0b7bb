r"""Make lists, label map and a ready config of one's own clips.

    cnnlstm-mm prepare folder CLIPS --recipe mobilenetv2_lstm
    cnnlstm-mm prepare folder CLIPS --csv labels.csv --group-regex "person(\d+)" --balanced

CLIPS holds a folder for each class, or train, val and test with these, or the
clips that a CSV file with the columns path and label names. Clips are videos or
folders of frames. Each is decoded once; broken ones are named and left out.
CLIPS stays as it is. It writes, below --out (data/NAME)::

    NAME.py, NAME_{train,val,test}_list.txt, label_map.txt
    report.json, checked.jsonl, clips.sqlite, videos (a link to CLIPS)

Started again, it decodes what is new or was changed, and writes them anew; a
config that you edited is kept beside the new one.
"""

import argparse
import hashlib
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.options import check_int
from cnnlstm_mm.storage import OutputFolder
from cnnlstm_mm.text import text_of, truncate_list

from .folder_config import Data, make_config, parts_of
from .folder_frames import check_frame_folders
from .folder_samples import Sample, find_samples
from .folder_split import split_samples
from .indexing import write_list_index
from .preparation import (
    add_workers,
    check_workers,
    link_videos,
    prepared_folder,
    summarize,
    write_report,
)
from .probing import probe_all

MOST_ROWS = 20  # of the table of classes
UNEVEN = 2  # times as many clips of one class as of another


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare clips of your own')
    parser.add_argument('folder', type=Path, metavar='CLIPS', help='folder of the clips')
    parser.add_argument('--out', type=Path, help='default: data/NAME')
    parser.add_argument('--name', help='of the config and the lists; default: that of the folder')
    parser.add_argument(
        '--csv',
        type=Path,
        help='table with the columns path (below CLIPS) and label, and perhaps group and split; '
        'several labels in a cell are parted by ; or |',
    )
    parser.add_argument(
        '--group-regex',
        metavar='REGEX',
        help='clips whose paths match alike, as of one person or scene, stay in one list',
    )
    parser.add_argument('--val', type=float, default=0.2, help='share for validation; default: 0.2')
    parser.add_argument('--test', type=float, default=0.0, help='share for testing; default: 0')
    parser.add_argument('--seed', type=int, default=0, help='of the split; default: 0')
    parser.add_argument(
        '--recipe',
        default='mobilenetv2_lstm',
        help='BACKBONE_NECK of configs/_base_; default: mobilenetv2_lstm',
    )
    parser.add_argument('--weights', help="checkpoint of the backbone; default: the recipe's")
    parser.add_argument('--frames', type=int, default=16, help='of a clip; default: 16')
    parser.add_argument(
        '--interval',
        type=int,
        help='frames of the video from one to the next; default: those of a clip span the median '
        'video',
    )
    parser.add_argument(
        '--balanced', action='store_true', help='weigh rare classes more in the loss'
    )
    add_workers(parser)
    add_cfg_options(parser)
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise an error for what cannot be, before any work."""
    check_workers(args.workers)
    check_int(**{'--frames': args.frames})
    check_int(optional=True, **{'--interval': args.interval})
    parts_of(args.recipe)
    if not args.folder.is_dir():
        raise FileNotFoundError(f'expected a folder of clips, got {args.folder}')
    for name in ('csv', 'weights'):
        path = getattr(args, name)
        if path is not None and '://' not in str(path) and not Path(path).is_file():
            raise FileNotFoundError(f'--{name}: expected a file, got {path}')
    if not (0 <= args.val < 1 and 0 <= args.test < 1 and 0 < args.val + args.test < 1):
        raise ValueError(
            f'--val and --test: expected shares whose sum is between 0 and 1, got {args.val} and '
            f'{args.test}'
        )


def prepare(args: argparse.Namespace) -> None:
    """Check the clips, divide them, write what a training needs and say how it goes on."""
    check_arguments(args)
    args.name = args.name or args.folder.resolve().name
    args.out = (args.out or Path('data', args.name)).absolute()
    settings = dict(tool='prepare folder', folder=str(args.folder.resolve()))
    with prepared_folder(
        args.out, 'prepare folder', settings, [args.folder], 'settings.json'
    ) as output:
        write(args, output)


def write(args: argparse.Namespace, output: OutputFolder) -> None:
    """Write into a folder that this run holds."""
    samples, frames = find_samples(args.folder, args.csv, args.group_regex)
    template = ''
    paths = [sample.path for sample in samples]
    clips = {path: args.folder / path for path in paths}
    probed = probe_all(clips, args.out / 'checked.jsonl', args.workers)
    if frames:
        named, template = check_frame_folders(args.folder, paths)
        for path, result in named.items():
            if probed[path]['state'] == 'ok':
                probed[path] |= result
    report = summarize({s.path: s.labels[0] for s in samples}, probed, [])
    write_report(report, output, 'report.json')
    usable = [s for s in samples if probed[s.path]['state'] != 'broken']
    shares = dict(train=1 - args.val - args.test, val=args.val, test=args.test)
    lists = split_samples(usable, shares, args.seed)
    classes = sorted({name for sample in usable for name in sample.labels})
    several = any(len(sample.labels) > 1 for sample in usable)
    link_videos(output, args.folder, args.out / ('frames' if frames else 'videos'))
    names = {split: f'{args.name}_{split}_list.txt' for split in lists}
    for split, chosen in lists.items():
        rows = (row(sample, classes, probed if frames else None) for sample in chosen)
        output.write_text(names[split], text_of(rows))
    output.write_text('label_map.txt', text_of(classes))
    if not (several or frames):
        entries = {
            names[split]: [(s.path, classes.index(s.labels[0])) for s in chosen]
            for split, chosen in lists.items()
        }
        write_list_index(output, 'videos', entries, probed)
    length = statistics.median(probed[sample.path]['frames'] for sample in usable)
    interval = args.interval or max(1, int(length // args.frames))
    style = None
    if frames:
        style = dict(filename_tmpl=template, start_index=0, with_offset=True)
    data = Data(args.out, names, classes, several, style, interval)
    cfg = make_config(args.recipe, data, args.frames, args.balanced, args.weights)
    cfg.merge_from_dict(args.cfg_options or {})
    config = args.out / f'{args.name}.py'
    write_config(output, config, heading(args), cfg.pretty_text)
    print(counts_table(lists, classes))
    hint_uneven(lists['train'], classes, args.balanced)
    print(
        f'Config: {config}\n'
        f'  cnnlstm-mm train {config} --cache-features\n'
        f'  cnnlstm-mm train {config}   (with augmentation anew in each epoch, slower)'
    )


def row(sample: Sample, classes: Sequence[str], probed: dict[str, Any] | None) -> str:
    """Line of a list: path, for frames their first number and how many, labels."""
    numbers = [str(classes.index(name)) for name in sample.labels]
    if probed is None:
        return '\t'.join([sample.path, *numbers])
    if ' ' in sample.path:
        raise ValueError(
            f'expected a folder of frames without blanks in its path, got {sample.path}; fix: '
            'rename it'
        )
    found = probed[sample.path]
    return ' '.join([sample.path, str(found['start']), str(found['frames']), *numbers])


def heading(args: argparse.Namespace) -> str:
    """Comment at the top of the config."""
    return f'Written by cnnlstm-mm prepare folder, recipe {args.recipe}; yours to edit.'


def write_config(output: OutputFolder, config: Path, heading: str, body: str) -> None:
    """Write the config, whose first line has its hash; one that was edited is kept beside it."""
    if config.is_file():
        before = config.read_text(encoding='utf-8')
        first, _, rest = before.partition('\n')
        if not first.endswith(_hash(rest)):
            names = (f'{config.stem}_edited_{k}.py' for k in itertools.count(1))
            kept = next(name for name in names if not (config.parent / name).exists())
            output.write_text(kept, before)
            print(f'{config} had been edited: your version is now {kept}, beside the new one')
    output.write_text(config.name, f'# {heading} {_hash(body)}\n{body}')


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def counts_table(lists: dict[str, list[Sample]], classes: Sequence[str]) -> str:
    """Clips of each class in each list."""
    rows = [['class', *lists]]
    for name in classes if len(classes) <= MOST_ROWS else ():
        rows.append([name, *(str(sum(name in s.labels for s in each)) for each in lists.values())])
    rows.append(['clips', *(str(len(each)) for each in lists.values())])
    return markdown_table(rows)


def hint_uneven(train: Sequence[Sample], classes: Sequence[str], balanced: bool) -> None:
    """Say which classes are rare."""
    counts = {name: sum(name in sample.labels for sample in train) for name in classes}
    most = max(counts.values())
    rare = [f'{name} ({n})' for name, n in counts.items() if n * UNEVEN < most]
    if rare and not balanced:
        print(
            f'NOTE: few clips of {truncate_list(rare)}, up to {most} of others: --balanced weighs '
            'them more'
        )


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
