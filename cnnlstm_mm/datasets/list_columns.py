"""Columns of annotation lists: delimiter, header, and labels that are class names."""

import csv
import os.path as osp
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

from mmengine.fileio import list_from_file

NUMBER = re.compile('-?[0-9]{1,18}')
SEVERAL = re.compile(' *[,;|] *')  # or blanks, between the labels of one cell of a CSV file
# Columns by which the first line of a list is known as its header.
PATHS = 'path video filename file clip video_path file_path filepath file_name'.split()
LABELS = (
    'label labels label_id class_id class classes class_name label_name category action'.split()
)


class Layout(NamedTuple):
    """Delimiter of a list, columns of its header (0 without one), and those of path and label."""

    delimiter: str
    columns: int = 0
    path: int = 0
    label: int | None = None

    def chosen(self, cells: list[str], multi_class: bool) -> list[str] | None:
        """Path and labels of a line; None if it has another number of columns."""
        if not self.columns:
            return cells
        while len(cells) > self.columns and not cells[-1]:
            cells = cells[:-1]
        if multi_class and self.label == self.columns - 1:
            tokens = cells[self.label :]
        elif len(cells) > self.columns:
            return None
        else:
            tokens = [] if self.label is None else cells[self.label : self.label + 1]
        if self.path >= len(cells) or not (tokens or self.label is None):
            return None
        return [cells[self.path], *filter(None, tokens)]


def layout_of(ann_file: str, lines: Sequence[tuple[int, str]], delimiter: str) -> Layout:
    """Find the header and the delimiter of a list.

    Args:
        ann_file: Its name.
        lines: Number and text of its lines.
        delimiter: The data set's. Where it is the default, a blank, the header or the name .csv
            may tell another one.
    """
    first = lines[0][1] if lines else ''
    others = [mark for mark in ',\t;' if mark in first] if delimiter == ' ' else []
    for mark in [delimiter, *others]:
        cells = [re.sub('[^a-z]+', '_', cell.lower()) for cell in split_cells(first, mark)]
        paths = [cells.index(name) for name in PATHS if name in cells]
        labels = [cells.index(name) for name in LABELS if name in cells]
        if paths and (labels or ann_file.endswith('.csv')):
            return Layout(
                mark if len(cells) > 1 else ',', len(cells), paths[0], labels[0] if labels else None
            )
    if others and ann_file.endswith('.csv'):
        return Layout(others[0])
    return Layout(delimiter)


def split_cells(line: str, delimiter: str) -> list[str]:
    """Divide a line into cells."""
    if delimiter in (',', ';'):  # with quotes, as spreadsheets write them
        with suppress(csv.Error):
            (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
            return [cell.strip() for cell in cells]
    return line.split(delimiter)


class ClassNames:
    """Labels by class name, read when the first name is met."""

    def __init__(self, ann_file: str, label_file: str | Sequence[str] | None) -> None:
        self.file = label_file if isinstance(label_file, str) else ''
        beside = osp.join(osp.dirname(ann_file), 'label_map.txt')
        if label_file is None and '://' not in beside and osp.isfile(beside):
            self.file = beside
        self.given = None if isinstance(label_file, str) else label_file

    @cached_property
    def names(self) -> list[str]:
        """Class names; [] where none are given."""
        if self.given is None and self.file:
            return [line.strip() for line in list_from_file(self.file) if line.strip()]
        return list(self.given or [])

    def label(self, token: str) -> int | None:
        """The label that a cell means; None if it means none."""
        if NUMBER.fullmatch(token):  # not int() alone, which takes 1_0 for 10
            return int(token)
        return self.names.index(token) if token and token in self.names else None

    def several(self, cell: str) -> list[str]:
        """The labels in a cell."""
        if self.label(cell) is not None:  # a name may hold blanks
            return [cell]
        return SEVERAL.split(cell) if SEVERAL.search(cell) else cell.split() or [cell]
