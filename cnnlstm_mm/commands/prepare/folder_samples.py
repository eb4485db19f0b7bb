"""Clips of a user's folder with their classes: one folder a class, or a CSV file."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cnnlstm_mm.datasets.list_columns import LABELS, PATHS
from cnnlstm_mm.text import natural_key, truncate_list
from cnnlstm_mm.video_files import PICTURES, VIDEO_SUFFIXES, find_videos

SPLITS = dict(train='train', val='val', valid='val', validation='val', test='test')
SEVERAL = re.compile(r'\s*[;|,]\s*')  # between the labels of a cell
FIX = 'fix: put the clips of each class into a folder of its name, or name a table with --csv'


class Sample(NamedTuple):
    """A clip.

    Attributes:
        path: below the folder, with slashes: a video, or a folder of frames.
        labels: names of its classes.
        group: clips of one group stay in one list.
        split: 'train', 'val' or 'test' where the data say so, else ''.
    """

    path: str
    labels: tuple[str, ...]
    group: str
    split: str = ''


def find_samples(
    root: Path, table: Path | None = None, group_regex: str | None = None
) -> tuple[list[Sample], bool]:
    """Find the clips of a folder.

    Without a table the first folder below ``root`` is the class, or the second where the first is
    train, val or test.

    Args:
        root: The folder.
        table: A CSV file with columns for path and labels, and perhaps ``group`` and ``split``.
        group_regex: Its first group, or the whole match, in a path is the group of a clip.

    Returns:
        The clips in the order of their paths, and whether they are folders of frames.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: For a clip without a class, or a table that cannot be read; with the line.
    """
    videos, folders = sorted(find_videos(root), key=natural_key), frame_folders(root)
    found = videos or folders
    if not found:
        raise FileNotFoundError(
            f'expected videos ({", ".join(VIDEO_SUFFIXES)}) or folders of pictures below {root}, '
            f'got none; {FIX}'
        )
    regex = _compiled(group_regex)
    rows = _of_folders(found) if table is None else _of_table(table, set(found))
    samples = [
        row if row.group else row._replace(group=_group(row.path, regex, group_regex))
        for row in rows
    ]
    return samples, not videos


def frame_folders(root: Path) -> list[str]:
    """Folders that hold pictures, by their path below ``root``."""
    found = []
    for folder, folders, names in os.walk(root):
        folders.sort(key=natural_key)
        if any(name.lower().endswith(PICTURES) for name in names) and Path(folder) != root:
            found.append(Path(folder).relative_to(root).as_posix())
    return sorted(found, key=natural_key)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f'--group-regex: expected a regular expression, got {pattern} ({error})'
        ) from None


def _group(path: str, regex: re.Pattern[str] | None, text: str | None) -> str:
    if regex is None:
        return path
    match = regex.search(path)
    if match is None:
        raise ValueError(
            f'--group-regex {text}: expected a match in each path, got none in {path}; fix: let it '
            'match all, or rename the clip'
        )
    return next((part for part in match.groups() if part is not None), match[0])


def _of_folders(paths: Sequence[str]) -> Iterator[Sample]:
    parts = [path.split('/')[:-1] for path in paths]
    given = bool(parts) and all(part and part[0].lower() in SPLITS for part in parts)
    loose = [path for path, part in zip(paths, parts) if len(part) < 1 + given]
    if loose:
        raise ValueError(
            f'expected a folder for the class of each clip, got {truncate_list(loose, 3)}; {FIX}'
        )
    for path, part in zip(paths, parts):
        split = SPLITS[part[0].lower()] if given else ''
        yield Sample(path, (part[given],), '', split)


def _of_table(table: Path, known: set[str]) -> Iterator[Sample]:
    text = table.read_text(encoding='utf-8-sig')
    head = text.split('\n', 1)[0]
    mark = max(',\t;', key=head.count)
    reader = csv.DictReader(text.splitlines(), delimiter=mark)
    names = {re.sub('[^a-z]+', '_', (name or '').lower()): name for name in reader.fieldnames or ()}
    path_column = next((names[name] for name in PATHS if name in names), None)
    label_column = next((names[name] for name in LABELS if name in names), None)
    if path_column is None or label_column is None:
        raise ValueError(
            f'{table}: expected a header with a column for the path ({", ".join(PATHS[:3])}) and '
            f'one for the class ({", ".join(LABELS[:2])}), got {head.strip()!r}'
        )
    seen: dict[str, Sample] = {}
    for row in reader:
        place = f'{table}, line {reader.line_num}'
        path = (row[path_column] or '').strip().replace('\\', '/').removeprefix('./')
        if not path:
            continue
        labels = tuple(filter(None, SEVERAL.split((row[label_column] or '').strip())))
        split = (row.get(names.get('split') or names.get('subset') or '') or '').strip().lower()
        group = (row.get(names.get('group', '')) or '').strip()
        if not labels:
            raise ValueError(f'{place}: expected a class for {path}, got none')
        if split and split not in SPLITS:
            raise ValueError(f'{place}: expected split to be train, val or test, got {split}')
        if path in seen:  # a line for each of its labels
            labels = (*seen[path].labels, *labels)
        seen[path] = Sample(path, tuple(dict.fromkeys(labels)), group, SPLITS.get(split, ''))
    missing = [path for path in seen if path not in known]
    if missing or not seen:
        raise FileNotFoundError(
            f'{table}: expected paths below the folder, got {truncate_list(missing, 3) or "none"}'
        )
    halves = [sample.path for sample in seen.values() if not sample.split]
    if halves and len(halves) < len(seen):
        raise ValueError(
            f'{table}: expected a split for each clip or for none, got none for '
            f'{truncate_list(halves, 3)}'
        )
    yield from (seen[path] for path in sorted(seen, key=natural_key))
