"""Convert the UCF101 archives to MMAction2's layout, with checked lists.

    cnnlstm-mm prepare ucf101 UCF101.rar UCF101TrainTestSplits-RecognitionTask.zip

writes, below --out (data/ucf101)::

    videos/Class/v_Class_gGG_cCC.avi
    ucf101_{train,val}_split_{1,2,3}_videos.txt, label_map.txt
    report.json, checked.jsonl

Every clip is decoded once. A killed run resumes where it stopped when it is
started again. Clips that are missing or broken are left out of the lists and
named in the report. The labels are the official ones; with --classes they
count from 0.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.video_files import find_videos

from .archives import add_max_size, unpack
from .preparation import (
    OutputFolder,
    add_workers,
    link_videos,
    prepared_splits,
    read_lines,
    summarize,
    write_report,
    write_splits,
)
from .probing import probe_all

PARTS = dict(train='train', test='val')
SPLITS = (1, 2, 3)


def official_lists(folder: Path) -> tuple[list[str], dict[tuple[str, int], list[str]]]:
    """Read ``classInd.txt`` and the split lists anywhere below a folder.

    Args:
        folder (Path): The unpacked UCF101TrainTestSplits-RecognitionTask.

    Returns:
        tuple: The classes in official order, and the clips
        (``Class/v_*.avi``) of each ('train' or 'test', split).

    Raises:
        FileNotFoundError: If one of the files is missing.
    """

    def lines(name: str) -> list[list[str]]:
        found = sorted(folder.rglob(name))
        if not found:
            raise FileNotFoundError(
                f'expected {name}, got none below {folder}; fix: name the archive or the folder of '
                'UCF101TrainTestSplits-RecognitionTask'
            )
        return [line.split() for line in read_lines(found[0]) if line.strip()]

    classes = [name for _, name in lines('classInd.txt')]
    clips = {
        (part, split): [line[0] for line in lines(f'{part}list{split:02d}.txt')]
        for split in SPLITS
        for part in PARTS
    }
    return classes, clips


def spread(clips: Sequence[str], limit: int) -> list[str]:
    """Choose at most ``limit`` clips of each class, evenly spaced over the list."""
    by_class: dict[str, list[str]] = {}
    for clip in clips:
        by_class.setdefault(clip.split('/')[0], []).append(clip)
    kept = set()
    for members in by_class.values():
        places = np.linspace(0, len(members) - 1, min(limit, len(members)))
        kept |= {members[int(place)] for place in places}
    return [clip for clip in clips if clip in kept]


def find_root(videos: dict[str, Path], official: Sequence[str]) -> str:
    """The folder, below the unpacked one, that holds the class folders.

    Raises:
        FileNotFoundError: If no official clip is found.
    """
    wanted = set(official)
    for name in videos:
        clip = '/'.join(name.split('/')[-2:])
        if clip in wanted:
            return name[: -len(clip)]
    raise FileNotFoundError(
        'expected the official clips as Class/v_*.avi, got none of them; fix: name UCF101.rar or '
        'the folder UCF-101 that it holds'
    )


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare UCF101')
    parser.add_argument('videos', type=Path, help='UCF101.rar, a .zip of it, or its folder')
    parser.add_argument('splits', type=Path, help='the train/test split .zip, or its folder')
    parser.add_argument('--out', type=Path, default=Path('data/ucf101'))
    parser.add_argument('--classes', nargs='+', help='only these classes, labelled from 0')
    parser.add_argument(
        '--limit',
        type=int,
        help='maximum number of clips per class in each list; clips stay in their '
        'official lists, so no group is in both train and test',
    )
    add_workers(parser)
    add_max_size(parser)
    return parser


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    if args.limit is not None and args.limit < 1:
        raise ValueError(f'expected --limit to be at least 1, got {args.limit}')
    classes = args.classes and sorted(args.classes)
    with prepared_splits(args, 'prepare_ucf101', classes=classes, limit=args.limit) as output:
        write(args, output)


def write(args: argparse.Namespace, output: OutputFolder) -> None:
    """Write into a folder that this run holds."""
    classes, lists = official_lists(
        unpack(args.splits, output.check_entry(args.out / 'unpacked_splits'), args.max_size)
    )
    unknown = sorted(set(args.classes or []) - set(classes))
    if unknown:
        raise ValueError(
            f'expected --classes of UCF101, got {", ".join(unknown)}; fix: use the names in '
            'classInd.txt'
        )
    if args.classes:
        classes = [name for name in classes if name in args.classes]
    everything = {clip for clips in lists.values() for clip in clips}
    lists = {
        key: [clip for clip in clips if clip.split('/')[0] in classes]
        for key, clips in lists.items()
    }
    if args.limit:
        lists = {key: spread(clips, args.limit) for key, clips in lists.items()}
    wanted = {clip: clip.split('/')[0] for key in sorted(lists) for clip in lists[key]}

    folder = unpack(args.videos, output.check_entry(args.out / 'unpacked_videos'), args.max_size)
    found = find_videos(folder, [args.out / 'videos'])
    root = find_root(found, sorted(everything))
    found = {name[len(root) :]: path for name, path in found.items() if name.startswith(root)}
    link_videos(output, folder / root, args.out / 'videos')
    probed = probe_all(
        {clip: found[clip] for clip in wanted if clip in found},
        output.check_file(args.out / 'checked.jsonl'),
        args.workers,
    )
    report = summarize(wanted, probed, [name for name in found if name not in everything])
    splits = {(PARTS[part], split): clips for (part, split), clips in lists.items()}
    write_splits(output, 'ucf101', classes, splits, probed)
    write_report(report, output, 'report.json')


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
