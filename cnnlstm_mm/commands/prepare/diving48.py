"""Write lists, label map and report for a local copy of Diving48.

    cnnlstm-mm prepare diving48 VIDEOS ANNOTATIONS

VIDEOS is the folder of the .mp4 files (``rgb``), ANNOTATIONS that of Diving48_V2_train.json,
Diving48_V2_test.json and Diving48_vocab.json (version 2, in which wrong labels are corrected).
Below --out (data/diving48) it writes MMAction2's layout::

    videos                               a link to VIDEOS
    diving48_{train,val}_list_videos.txt, label_map.txt
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
    entries_of,
    find_file,
    prepare_clips,
    read_json,
)


def read_annotations(folder: Path) -> Annotations:
    """Read the official JSON files.

    Raises:
        FileNotFoundError: If one of them is missing.
        ValueError: If one cannot be read, or a label is not in the vocabulary.
    """
    path = find_file(folder, ['Diving48_vocab.json'])
    vocabulary = read_json(path)
    if not isinstance(vocabulary, list) or not all(isinstance(w, list) for w in vocabulary):
        raise ValueError(f'{path}: expected a list of dives, got {vocabulary!r:.80}')
    classes = ['_'.join(map(str, words)) for words in vocabulary]
    parts: dict[str, dict[str, str]] = {}
    for part, stem in (('train', 'train'), ('val', 'test')):
        path = find_file(folder, [f'Diving48_V2_{stem}.json', f'Diving48_{stem}.json'])
        parts[part] = {}
        entries = entries_of(path, dict(vid_name=str, label=int))
        for number, entry in enumerate(entries, start=1):
            place = f'{path}, entry {number}'
            if not 0 <= entry['label'] < len(classes):
                raise ValueError(
                    f'{place}: expected a label from 0 to {len(classes) - 1}, got '
                    f'{entry["label"]}; fix: take lists and vocabulary of one version'
                )
            add_clip(parts[part], entry['vid_name'], classes[entry['label']], place)
    return Annotations(classes, parts)


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    prepare_clips(args, 'diving48', read_annotations)


def main(argv: list[str] | None = None) -> int:
    parser = argument_parser('diving48', 'folder of the .mp4 files', 'folder of the JSON files')
    return run_command(prepare, parser, argv)
