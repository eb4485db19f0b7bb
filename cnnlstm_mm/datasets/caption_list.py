"""Caption lists: a video and its captions, as JSON lines or CSV; read, or refused by line."""

import csv
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from .annotation_list import read_lines
from .list_faults import Fault, format_faults

JSON_CURE = 'write {"video": "PATH", "captions": ["a sentence", ...]} a line'
CSV_CURE = 'write a header "video,caption", then a video and one of its captions a line'
COLUMNS = ('video', 'caption')
MARKS = {'.csv': ',', '.tsv': '\t'}


class CaptionedClip(NamedTuple):
    """A video, its captions, and the line, from 1, that names it first."""

    line: int
    path: str
    captions: list[str]


def read_captions(ann_file: str) -> list[CaptionedClip]:
    """Read a caption list.

    Args:
        ann_file: JSON lines, ``{"video": path, "captions": [...]}``; or .csv or .tsv with the
            columns ``video`` and ``caption``, one caption a line. Line ends and other blanks
            within a caption count as one blank.

    Raises:
        ValueError: If the list is empty, or a line cannot be read, or a caption is empty; with
            file, line and the cure of each fault.
    """
    lines = read_lines(ann_file)
    mark = next((mark for end, mark in MARKS.items() if ann_file.lower().endswith(end)), None)
    rows, faults = _from_json(lines) if mark is None else _from_csv(ann_file, mark)
    clips: dict[str, CaptionedClip] = {}
    for number, path, captions in rows:
        clip = clips.setdefault(path, CaptionedClip(number, path, []))
        for caption in captions:
            text = ' '.join(caption.split())
            if any(map(str.isalnum, text)):
                clip.captions.append(text)
            else:
                faults.append(
                    Fault(number, f'{path} has the caption {caption!r}, without words', 'remove it')
                )
    faults += [
        Fault(clip.line, f'{clip.path} has no caption', 'write one, or remove the line')
        for clip in clips.values()
        if not clip.captions and all(fault.line != clip.line for fault in faults)
    ]
    if faults:
        raise ValueError(format_faults(ann_file, faults))
    if not clips:
        cure = JSON_CURE if mark is None else CSV_CURE
        raise ValueError(f'{ann_file}: expected videos and captions, got none; fix: {cure}')
    return list(clips.values())


def _from_json(
    lines: Sequence[tuple[int, str]],
) -> tuple[list[tuple[int, str, list[str]]], list[Fault]]:
    rows, faults = [], []
    for number, line in lines:
        try:
            entry: Any = json.loads(line)
            path, captions = entry['video'], entry['captions']
            if not (
                isinstance(path, str)
                and path
                and isinstance(captions, list)
                and all(isinstance(caption, str) for caption in captions)
            ):
                raise TypeError
            rows.append((number, path, captions))
        except (ValueError, TypeError, KeyError):
            faults.append(Fault(number, f'{line[:60]!r} is not a video with captions', JSON_CURE))
    return rows, faults


def _from_csv(ann_file: str, mark: str) -> tuple[list[tuple[int, str, list[str]]], list[Fault]]:
    with open(ann_file, encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file, delimiter=mark)
        cells = [(reader.line_num, row) for row in reader if any(row)]
    if not cells:
        return [], []
    number, header = cells[0]
    names = [name.strip().lower() for name in header]
    if not set(COLUMNS) <= set(names):
        return [], [Fault(number, f'the header is {header}', CSV_CURE)]
    video, caption = map(names.index, COLUMNS)
    rows, faults = [], []
    for number, row in cells[1:]:
        if len(row) == len(header) and row[video]:
            rows.append((number, row[video], [row[caption]]))
        else:
            text = f'{mark.join(row)[:60]!r} has {len(row)} columns'
            faults.append(Fault(number, text, f'{CSV_CURE}; quote captions with commas'))
    return rows, faults
