"""Convert MSVD to checked caption lists.

    cnnlstm-mm prepare msvd VIDEOS AllVideoDescriptions.txt --splits youtube_mapping.txt
    cnnlstm-mm prepare msvd VIDEOS AllVideoDescriptions.txt --splits FOLDER

VIDEOS is the archive or the folder of the 1,970 .avi files. The descriptions are the text, "name
caption" a line, or the .csv of the MSR Video Description Corpus, of which the English ones are
taken. The splits, 1,200, 100 and 670 clips, are those of a mapping "name vidNUMBER" a line (or of
clips that are named vidNUMBER themselves): the first 1,200 numbers train, the next 100 validate;
or of the files train_list.txt, val_list.txt and test_list.txt in a folder. Below --out
(data/msvd) it writes captions_{train,val,test}.jsonl, vocabulary.json, report.json and a link to
the videos. Clips that are missing or broken are left out of the lists and named in the report.
"""

import argparse
import csv
import re
from pathlib import Path

from cnnlstm_mm.cli import run_command

from .caption_splits import SPLITS, Clip, Source, add_arguments, prepare_captions
from .preparation import read_lines

ENDS = dict(train=1200, val=1300, test=1970)
NUMBERED = re.compile(r'vid(\d+)')


def read_source(descriptions: Path, splits: Path | None) -> Source:
    """Read the descriptions and the splits.

    Raises:
        ValueError: If a file has another layout, or the splits are not known.
    """
    faults: list[str] = []
    reader = _read_csv if descriptions.suffix.lower() == '.csv' else _read_text
    captions = reader(descriptions, faults)
    if not captions:
        raise ValueError(
            f'{descriptions}: expected "name caption" lines or the .csv of the corpus, got none; '
            'fix: name AllVideoDescriptions.txt'
        )
    clips: dict[str, Clip] = {}
    for name, split in _read_splits(splits, captions, faults).items():
        clips[name] = Clip(split, captions.pop(name, []))
    faults += [f'{descriptions.name}: {name} is in no split' for name in captions]
    return Source(clips, faults)


def _read_text(path: Path, faults: list[str]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip() or line.startswith('#'):
            continue
        name, _, caption = line.strip().partition(' ')
        if caption.strip():
            captions.setdefault(name, []).append(caption)
        else:
            faults.append(f'{path.name}, line {number}: {name[:60]} has no caption')
    return captions


def _read_csv(path: Path, faults: list[str]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    rows = csv.DictReader(read_lines(path))
    for row in rows:
        parts = [row.get(key) for key in ('VideoID', 'Start', 'End')]
        if row.get('Language') not in (None, 'English'):
            continue
        if all(parts) and row.get('Description'):
            captions.setdefault('_'.join(map(str, parts)), []).append(row['Description'])
        else:
            faults.append(f'{path.name}, line {rows.line_num}: no clip or no description')
    return captions


def _read_splits(
    path: Path | None, names: dict[str, list[str]], faults: list[str]
) -> dict[str, str]:
    """Split by clip."""
    if path is not None and path.is_dir():
        splits: dict[str, str] = {}
        for split in SPLITS:
            for name in _listed(path / f'{split}_list.txt'):
                if name in splits:
                    faults.append(f'{split}_list.txt: {name} stands in {splits[name]} already')
                else:
                    splits[name] = split
        return splits
    if path is not None:
        numbers = {}
        for number, line in enumerate(read_lines(path), 1):
            found = re.fullmatch(r'(\S+)\s+vid(\d+)', line.strip())
            if found:
                numbers[found[1]] = int(found[2])
            elif line.strip():
                faults.append(f'{path.name}, line {number}: {line[:60]!r} is not "name vidNUMBER"')
    else:
        numbers = {name: int(m[1]) for name in names if (m := NUMBERED.fullmatch(name))}
    if not numbers:
        raise ValueError(
            'expected the splits of MSVD, got clips that are not named vidNUMBER; fix: --splits '
            'youtube_mapping.txt, or a folder with train_list.txt, val_list.txt and test_list.txt'
        )
    ordered = sorted(numbers, key=numbers.__getitem__)
    beyond = [name for name in ordered if not 1 <= numbers[name] <= ENDS['test']]
    faults += [f'{name}: number {numbers[name]} is in no split' for name in beyond]
    return {
        name: next(split for split, end in ENDS.items() if numbers[name] <= end)
        for name in ordered
        if name not in beyond
    }


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(
            f'expected {path}, got no such file; fix: a folder with train_list.txt, val_list.txt '
            'and test_list.txt'
        )
    return [line.strip().removesuffix('.avi') for line in read_lines(path) if line.strip()]


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare MSVD')
    parser.add_argument('videos', type=Path, help='archive or folder of the clips')
    parser.add_argument('descriptions', type=Path, help='AllVideoDescriptions.txt, or the .csv')
    parser.add_argument('--splits', type=Path, help='youtube_mapping.txt, or a folder of lists')
    add_arguments(parser, 'msvd')
    return parser


def prepare(args: argparse.Namespace) -> None:
    texts = [args.descriptions, *filter(None, [args.splits])]
    prepare_captions(args, 'msvd', lambda: read_source(args.descriptions, args.splits), *texts)


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
