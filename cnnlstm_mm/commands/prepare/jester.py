"""Write lists, label map and report for a local copy of Jester.

    cnnlstm-mm prepare jester CLIPS ANNOTATIONS

CLIPS is the folder of the clips: folders of frames (``34870/00001.jpg``) or .webm files.
ANNOTATIONS is that of the official tables jester-v1-labels.csv, jester-v1-train.csv and
jester-v1-validation.csv. Below --out (data/jester) it writes MMAction2's layout::

    rawframes or videos                  a link to CLIPS
    jester_{train,val}_list_rawframes.txt or ..._videos.txt, label_map.txt
    report.json, checked.jsonl

Every clip is decoded once; those that are missing, broken or lack a frame are left out of the lists
and named in the report. A killed run resumes where it stopped when it is started again.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.cli import run_command

from .annotated_clips import (
    Annotations,
    add_clip,
    argument_parser,
    check_class,
    find_file,
    prepare_clips,
    read_table,
)


def read_annotations(folder: Path) -> Annotations:
    """Read the official tables.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If a line is not ``number;class``, or its class is not among the labels.
    """
    path = find_file(folder, ['jester-v1-labels.csv', 'labels.csv'])
    classes = [row[0] for _, row in read_table(path)]
    parts: dict[str, dict[str, str]] = {}
    for part, stem in (('train', 'train'), ('val', 'validation')):
        path = find_file(folder, [f'jester-v1-{stem}.csv', f'{stem}.csv'])
        parts[part] = {}
        for number, row in read_table(path):
            place = f'{path}, line {number}'
            if len(row) != 2 or not row[0].isdigit():
                raise ValueError(
                    f'{place}: expected "number;class", got {";".join(row)!r}; fix: repair or '
                    'remove the line'
                )
            add_clip(parts[part], row[0], check_class(row[1], classes, place), place)
    return Annotations(classes, parts)


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    prepare_clips(args, 'jester', read_annotations, frames=True)


def main(argv: list[str] | None = None) -> int:
    parser = argument_parser(
        'jester', 'folder of the frame folders or .webm files', 'folder of the tables'
    )
    return run_command(prepare, parser, argv)
