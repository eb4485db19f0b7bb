"""Write lists, label map and report for a local copy of Something-Something V2.

    cnnlstm-mm prepare sthv2 VIDEOS ANNOTATIONS

VIDEOS is the folder of the .webm files, ANNOTATIONS that of the official JSON files (labels.json,
train.json and validation.json, or something-something-v2-train.json and so on). Below --out
(data/sthv2) it writes MMAction2's layout::

    videos                               a link to VIDEOS
    sthv2_{train,val}_list_videos.txt, label_map.txt
    report.json, checked.jsonl

Every clip is decoded once; those that are missing or broken are left out of the lists and named in
the report. A killed run resumes where it stopped when it is started again.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.cli import run_command

from .annotated_clips import (
    Annotations,
    add_clip,
    argument_parser,
    check_class,
    entries_of,
    find_file,
    prepare_clips,
    read_json,
)

PREFIX = 'something-something-v2-'


def read_annotations(folder: Path) -> Annotations:
    """Read the official JSON files.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If one cannot be read, or names a class that ``labels.json`` lacks.
    """
    path = find_file(folder, ['labels.json', f'{PREFIX}labels.json'])
    numbers = read_json(path)
    if not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(
        map(str, range(len(numbers)))
    ):
        raise ValueError(
            f'{path}: expected the numbers from 0 by class name, got {numbers!r:.80}; fix: '
            'download it again'
        )
    classes = sorted(numbers, key=lambda name: int(numbers[name]))
    parts: dict[str, dict[str, str]] = {}
    for part, stem in (('train', 'train'), ('val', 'validation')):
        path = find_file(folder, [f'{stem}.json', f'{PREFIX}{stem}.json'])
        parts[part] = {}
        entries = entries_of(path, dict(id=str, template=str))
        for number, entry in enumerate(entries, start=1):
            place = f'{path}, entry {number}'
            name = entry['template'].replace('[', '').replace(']', '')
            add_clip(parts[part], entry['id'], check_class(name, classes, place), place)
    return Annotations(classes, parts)


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    prepare_clips(args, 'sthv2', read_annotations)


def main(argv: list[str] | None = None) -> int:
    parser = argument_parser('sthv2', 'folder of the .webm files', 'folder of the JSON files')
    return run_command(prepare, parser, argv)
