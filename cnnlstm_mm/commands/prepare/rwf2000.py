"""Write lists, label map and report for a local copy of RWF-2000.

    cnnlstm-mm prepare rwf2000 VIDEOS

VIDEOS is the unpacked data set, or its archive: train/Fight, train/NonFight, val/Fight and
val/NonFight with .avi files. Below --out (data/rwf2000) it writes::

    videos                               a link to VIDEOS, or links to each clip without blanks
    rwf2000_{train,val}_list_videos.txt, label_map.txt
    report.json, checked.jsonl

Every clip is decoded once; broken ones are left out of the lists and named in the report. A killed
run resumes where it stopped when it is started again.
"""

import argparse
from pathlib import Path

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.video_files import find_videos

from .annotated_clips import Annotations, argument_parser, prepare_clips

CLASSES = ('Fight', 'NonFight')


def read_folders(root: Path) -> Annotations:
    """Read classes and parts from the folders of the clips.

    Raises:
        FileNotFoundError: If one of the four folders is missing or has no video.
    """
    parts: dict[str, dict[str, str]] = dict(train={}, val={})
    for name in find_videos(root):
        folders = Path(name).parts[-3:-1]
        if len(folders) == 2 and folders[0] in parts and folders[1] in CLASSES:
            parts[folders[0]][name] = folders[1]
    for part, clips in parts.items():
        for name in CLASSES:
            if name not in clips.values():
                raise FileNotFoundError(
                    f'expected videos in {part}/{name} below {root}, got none; fix: name the '
                    'unpacked RWF-2000, or its archive'
                )
    return Annotations(list(CLASSES), parts)


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    prepare_clips(args, 'rwf2000', read_folders)


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser('rwf2000', 'folder or archive of the clips'), argv)
