"""Convert the HMDB51 archives to MMAction2's layout, with checked lists.

    cnnlstm-mm prepare hmdb51 hmdb51_org.rar test_train_splits.rar

The official archive holds one .rar per class; folders of unpacked classes and
split files work as well. Below --out (data/hmdb51) it writes::

    videos/class/*.avi
    hmdb51_{train,val}_split_{1,2,3}_videos.txt, label_map.txt
    report.json, checked.jsonl

A split has 70 training and 30 test clips of each class; the other clips,
marked 0 in the split files, are not used in it. Clips that are missing or
broken are left out of the lists and named in the report.
"""

import argparse
from pathlib import Path

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

PARTS = {1: 'train', 2: 'val'}
SPLITS = (1, 2, 3)


def official_lists(folder: Path) -> tuple[list[str], dict[tuple[str, int], list[str]]]:
    """Read the files ``CLASS_test_splitN.txt`` anywhere below a folder.

    Args:
        folder (Path): The unpacked test_train_splits.

    Returns:
        tuple: The classes in alphabetical order, and the clips
        (``class/name.avi``) of each ('train' or 'val', split).

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If a line is not ``name.avi 0|1|2``; names file and line.
    """
    files = {path.name: path for path in folder.rglob('*_test_split?.txt')}
    classes = sorted({name.rsplit('_test_split', 1)[0] for name in files})
    if not classes:
        raise FileNotFoundError(
            f'expected files CLASS_test_splitN.txt, got none below {folder}; fix: name '
            'test_train_splits.rar or its folder'
        )
    lists: dict[tuple[str, int], list[str]] = {
        (part, split): [] for split in SPLITS for part in PARTS.values()
    }
    for name in classes:
        for split in SPLITS:
            path = files.get(f'{name}_test_split{split}.txt')
            if path is None:
                raise FileNotFoundError(
                    f'expected {name}_test_split{split}.txt below {folder}, got no such file; fix: '
                    'unpack test_train_splits.rar again'
                )
            for number, line in enumerate(read_lines(path), 1):
                if not line.strip():
                    continue
                clip, _, mark = line.strip().rpartition(' ')
                if mark not in ('0', '1', '2') or not clip:
                    raise ValueError(
                        f'{path}, line {number}: expected "name.avi 0", 1 or 2, got {line!r}; fix: '
                        'unpack test_train_splits.rar again'
                    )
                if mark != '0':
                    lists[PARTS[int(mark)], split].append(f'{name}/{clip.strip()}')
    return classes, lists


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare HMDB51')
    parser.add_argument('videos', type=Path, help='hmdb51_org.rar, or a folder of classes')
    parser.add_argument('splits', type=Path, help='test_train_splits.rar, or its folder')
    parser.add_argument('--out', type=Path, default=Path('data/hmdb51'))
    add_workers(parser)
    add_max_size(parser)
    return parser


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    with prepared_splits(args, 'prepare_hmdb51') as output:
        write(args, output)


def write(args: argparse.Namespace, output: OutputFolder) -> None:
    """Write into a folder that this run holds."""
    classes, lists = official_lists(
        unpack(args.splits, output.check_entry(args.out / 'unpacked_splits'), args.max_size)
    )
    folder = unpack(args.videos, output.check_entry(args.out / 'unpacked_videos'), args.max_size)
    archives = sorted(folder.rglob('*.rar'))
    for archive in archives:  # one per class, with the folder of the class
        unpack(
            archive, output.check_entry(args.out / 'unpacked_classes' / archive.stem), args.max_size
        )
    if archives:
        folder = args.out / 'unpacked_classes'
    # The folder of a class may be nested in another one of the same name.
    videos = find_videos(folder, [args.out / 'videos'])
    found = {'/'.join(name.split('/')[-2:]): path for name, path in videos.items()}
    wanted = {clip: clip.split('/')[0] for clips in lists.values() for clip in clips}
    used = {clip: found[clip] for clip in wanted if clip in found}
    for name in sorted({clip.split('/')[0] for clip in used}):
        clip = next(clip for clip in used if clip.startswith(f'{name}/'))
        link_videos(output, used[clip].parent, args.out / 'videos' / name)
    probed = probe_all(used, output.check_file(args.out / 'checked.jsonl'), args.workers)
    # A split uses 100 clips per class; its other clips do not count as extra.
    report = summarize(wanted, probed, [])
    write_splits(output, 'hmdb51', classes, lists, probed)
    write_report(report, output, 'report.json')


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
