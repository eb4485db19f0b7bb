"""Faults of annotation lists: each kind in its own words, with its own cure."""

import difflib
import os.path as osp
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cnnlstm_mm.text import truncate_list

from .list_columns import ClassNames, Layout

DELIMITERS = {',': 'commas', '\t': 'tabs', ';': 'semicolons', ' ': 'spaces'}
NUMBER_LIKE = re.compile(r'[-+]?[0-9_]*\.?[0-9]+([eE][-+]?[0-9]+)?')


class Fault(NamedTuple):
    """A line of a list, from 1, what is wrong with it, and the cure."""

    line: int
    text: str
    cure: str


def diagnose(
    number: int, line: str, cells: Sequence[str], delimiter: str, classes: ClassNames
) -> Fault:
    """Find out why a line cannot be read.

    Args:
        number: Of the line.
        line: Its text.
        cells: Path and labels, as the delimiter divides the line.
        delimiter: The list's.
        classes: The class names of the list.
    """
    path, *labels = cells
    means = [classes.label(label) is not None for label in labels]
    marks = f'{delimiter!r}'

    def fault(text: str, cure: str) -> Fault:
        return Fault(number, f'{line!r} {text}', cure)

    if not path:
        return fault('has no path', 'write "path label", or remove the line')
    if '' in labels:
        double = 'two spaces in a row' if delimiter == ' ' else 'an empty column'
        return fault(f'has {double}', f'write a single {marks} between path and label')
    if all(means):
        return fault(
            f'has {len(labels)} labels',
            'lists with several labels per line need multi_class=True and num_classes; frame '
            "folders, 'folder frames label', need type='RawframeDataset'; a path that holds the "
            f"delimiter {marks} needs a list with tabs and delimiter='\\t'",
        )
    if classes.label(path) is not None and len(labels) == 1:
        return fault('has the label before the path', 'write "path label"')
    if means[-1]:
        return fault(
            f'has a path that holds the delimiter {marks}',
            "rename the files, or write the list with tabs and set the data set's delimiter='\\t'",
        )
    wrong = labels[means.index(False)]
    if NUMBER_LIKE.fullmatch(wrong):
        return fault(f'has the label {wrong!r}', 'write labels as whole numbers from 0')
    if classes.names:
        near = difflib.get_close_matches(wrong, classes.names, 1)
        return fault(
            f'has the class {wrong!r}, which is not among the {len(classes.names)} of '
            f'{classes.file or "the data set"}{f" (near: {near[0]})" if near else ""}',
            'correct the name, or add it to the class names',
        )
    return fault(
        f'has the class name {wrong!r} for a label',
        "name the classes, one per line, in label_map.txt beside the list or in the data set's "
        'label_file=FILE, or write their numbers from 0',
    )


def other_delimiter(number: int, line: str, delimiter: str, classes: ClassNames) -> Fault | None:
    """Find a line that has another delimiter between path and label."""
    for mark, name in DELIMITERS.items():
        before, _, last = line.rpartition(mark)
        if mark == delimiter or not before.strip() or delimiter in last:
            continue
        if mark == ' ' and (delimiter in line or not osp.splitext(before)[1]):
            continue  # a file without suffix may have a blank and a number in its name
        if classes.label(last.strip()) is not None:
            return Fault(
                number,
                f'{line!r} has {name} between path and label, not {delimiter!r}',
                f"set the data set's delimiter={mark!r}",
            )
    return None


def wrong_columns(number: int, line: str, columns: int, layout: Layout) -> Fault:
    """A line with more or fewer columns than the header."""
    how = 'double quotes around it' if layout.delimiter in ',;' else "tabs and delimiter='\\t'"
    return Fault(
        number,
        f'{line!r} has {columns} columns, the header {layout.columns}',
        'write as many columns as the header names; a path that holds the delimiter '
        f'{layout.delimiter!r} needs {how}',
    )


def unknown_header(fault: Fault, line: str) -> Fault:
    """Explain the fault of a first line, the only one, where it seems to be a header."""
    if re.search(r'[0-9./\\]', line):
        return fault
    return Fault(
        fault.line,
        f'{line!r} seems to be a header whose columns are not known',
        "name the columns 'path' and 'label'",
    )


def format_faults(ann_file: str, faults: Sequence[Fault]) -> str:
    """Name each fault by line, the first 10 of many, then the cure of each kind."""
    kinds: dict[str, int] = {}
    for fault in faults:
        kinds.setdefault(fault.cure, fault.line)
    cures = [
        f'fix: {cure}' if len(kinds) == 1 else f'fix of line {line}: {cure}'
        for cure, line in kinds.items()
    ]
    named = fault_lines(ann_file, [(fault.line, fault.text) for fault in faults])
    return '\n'.join([named, *cures])


def fault_lines(ann_file: str, faults: Iterable[tuple[int, str]]) -> str:
    """Name faults as ``file, line: fault``, the first 10 of many."""
    lines = [f'{ann_file}, line {number}: {fault}' for number, fault in sorted(faults)]
    return truncate_list(lines, separator='\n')
