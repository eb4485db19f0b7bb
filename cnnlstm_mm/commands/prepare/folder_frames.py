"""Folders of frames: names, numbers, and those that are missing."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cnnlstm_mm.text import truncate_list
from cnnlstm_mm.video_files import PICTURES

NUMBERED = re.compile(r'(.*?)(\d+)(\.\w+)')


def check_frame_folders(
    root: Path, folders: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], str]:
    """Look at the names of the frames of each folder.

    Args:
        root: They lie below it.
        folders: Their paths.

    Returns:
        ``state`` ('ok' or 'broken', with ``reason``), ``frames`` and ``start``, the first number,
        of each folder; and the template of their names, such as 'img_{:05}.jpg', that of most.
    """
    found = {folder: _names(root / folder) for folder in folders}
    templates = Counter(template for template, _ in found.values() if template)
    template = templates.most_common(1)[0][0] if templates else 'img_{:05}.jpg'
    return {folder: _judge(*names, template) for folder, names in found.items()}, template


def _names(folder: Path) -> tuple[str, list[int]]:
    """Template of the names in a folder, '' where they have none in common, and the numbers."""
    files = [file for file in folder.iterdir() if file.name.lower().endswith(PICTURES)]
    found = [NUMBERED.fullmatch(file.name) for file in files if file.stat().st_size]
    matches = [match for match in found if match]
    if not matches or len(matches) < len(files):
        return '', []
    kinds = {(match[1], match[3]) for match in matches}
    if len(kinds) > 1:
        return '', []
    (before, after), widths = kinds.pop(), {len(match[2]) for match in matches}
    padded = len(widths) == 1 or any(match[2].startswith('0') for match in matches)
    width = f':0{min(widths)}' if padded else ''
    escaped = [part.replace('{', '{{').replace('}', '}}') for part in (before, after)]
    return f'{escaped[0]}{{{width}}}{escaped[1]}', sorted(int(match[2]) for match in matches)


def _judge(template: str, numbers: list[int], common: str) -> dict[str, Any]:
    broken = dict(state='broken', frames=0, promised=0)
    if not template:
        return dict(broken, reason='its pictures are not numbered in one way, or one is empty')
    if template != common:
        return dict(broken, reason=f'its pictures are named {template}, most others {common}')
    missing = sorted({*range(numbers[0], numbers[-1] + 1)} - {*numbers})
    if missing:
        return dict(broken, reason=f'frames are missing: {truncate_list(missing, 3)}')
    count = len(numbers)
    return dict(state='ok', frames=count, promised=count, start=numbers[0])
