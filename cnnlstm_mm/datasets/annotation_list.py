"""Annotation lists, ``path label`` a line: read, or refused by line."""

import os.path as osp
from collections.abc import Sequence
from typing import NamedTuple

from mmengine.fileio import list_from_file

from .list_columns import NUMBER, ClassNames, Layout, layout_of, split_cells
from .list_faults import (
    Fault,
    diagnose,
    fault_lines,
    format_faults,
    other_delimiter,
    unknown_header,
    wrong_columns,
)


class Row(NamedTuple):
    """A line of a list; lines count from 1."""

    line: int
    path: str
    labels: list[int]


def read_lines(ann_file: str) -> list[tuple[int, str]]:
    """Number from 1 and stripped text of each line that is not blank.

    Raises:
        ValueError: If the file is not UTF-8.
    """
    try:
        lines = list_from_file(ann_file, encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{ann_file}: expected UTF-8 text, got {error.reason} at byte {error.start}; fix: '
            'convert the list to UTF-8, for example with iconv.'
        ) from None
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def read_list(
    ann_file: str,
    delimiter: str = ' ',
    multi_class: bool = False,
    label_file: str | Sequence[str] | None = None,
    plain: bool = False,
) -> list[Row]:
    """Read an annotation list: that of MMAction2's VideoDataset, or CSV.

    Args:
        ann_file: The list: ``path label`` a line, with any number of labels where
            ``multi_class``. A path alone has no label, as in lists for inference. Blank lines
            are passed over. A header with the columns ``path`` and ``label`` (see ``PATHS`` and
            ``LABELS``) is read, others beside them are passed over; it also tells commas, tabs
            and semicolons, as the name .csv tells commas.
        delimiter: Between path and label.
        multi_class: Several labels per line are allowed.
        label_file: Class names, one per line, or a list of them, for labels that are names. By
            default ``label_map.txt`` beside the list.
        plain: Refuse what MMAction2's own VideoDataset cannot read.

    Raises:
        ValueError: If the list is empty, or a line cannot be read; with file, line and a cure of
            each kind of fault.
    """
    lines = read_lines(ann_file)
    layout = layout_of(ann_file, lines, delimiter)
    if plain and layout != Layout(delimiter):
        raise ValueError(
            f"{ann_file}: expected 'path label' lines for the type VideoDataset, got CSV; fix: "
            "set the data set's type='CheckedVideoDataset'"
        )
    classes = ClassNames(ann_file, () if plain else label_file)
    rows, faults = [], []
    for number, line in lines[bool(layout.columns) :]:
        split = split_cells(line, layout.delimiter)
        cells = layout.chosen(split, multi_class)
        if cells is None:
            faults.append(wrong_columns(number, line, len(split), layout))
            continue
        if multi_class:
            cells[1:] = [part for cell in cells[1:] for part in classes.several(cell)]
        path, *tokens = cells
        found = [classes.label(token) for token in tokens]
        labels = [label for label in found if label is not None]
        good = path and len(labels) == len(tokens) and (multi_class or len(labels) < 2)
        if good and labels:
            rows.append(Row(number, path, labels))
            continue
        fault = other_delimiter(number, line, layout.delimiter, classes)
        if good and fault is None:
            rows.append(Row(number, path, labels))
        else:
            faults.append(fault or diagnose(number, line, cells, layout.delimiter, classes))
    if faults:
        if rows and len(faults) == 1 and faults[0].line == lines[0][0]:
            faults = [unknown_header(faults[0], lines[0][1])]
        raise ValueError(format_faults(ann_file, faults))
    if not rows:
        raise ValueError(f'{ann_file} is empty: it must hold "path label" lines.')
    return rows


def read_frame_list(
    ann_file: str, with_offset: bool = False, multi_class: bool = False
) -> list[Row]:
    """Rows of a list of frame folders, see :func:`read_frame_counts`."""
    return [row for row, _ in read_frame_counts(ann_file, with_offset, multi_class)]


def read_frame_counts(
    ann_file: str, with_offset: bool = False, multi_class: bool = False
) -> list[tuple[Row, dict[str, int]]]:
    """Read a list of frame folders: ``folder frames label`` a line, parted by blanks.

    Args:
        ann_file: The list.
        with_offset: The number of the first frame stands before the number of frames.
        multi_class: Several labels per line are allowed.

    Returns:
        Each row, and its ``total_frames`` and, where ``with_offset``, ``offset``.

    Raises:
        ValueError: If the list is empty or a line cannot be read.
    """
    columns = ('offset', 'total_frames')[not with_offset :]
    cure = f'write "folder {"offset " * with_offset}frames label", no spaces in the path'
    rows, faults = [], []
    for number, line in read_lines(ann_file):
        path, *cells = line.split()
        numbers = [int(cell) for cell in cells if NUMBER.fullmatch(cell)]
        counts, labels = dict(zip(columns, numbers)), numbers[len(columns) :]
        if len(numbers) < len(cells) or counts.get('total_frames', 0) < 1 or numbers[0] < 0:
            text = f'{line!r} is not "folder {" ".join(columns)} label"'
            faults.append(Fault(number, text, cure))
        elif len(labels) > 1 and not multi_class:
            several = f'{line!r} has {len(labels)} labels'
            faults.append(Fault(number, several, 'set multi_class=True and num_classes'))
        else:
            rows.append((Row(number, path, labels), counts))
    if faults:
        raise ValueError(format_faults(ann_file, faults))
    if not rows:
        raise ValueError(f'expected lines in {ann_file}, got none; fix: {cure}')
    return rows


def check_labels(
    ann_file: str, rows: list[Row], num_classes: int, labelled: bool = True, testing: bool = False
) -> None:
    """Refuse labels that the classifier has no output for.

    Args:
        ann_file: The list's name, for the message.
        rows: See :func:`read_list`.
        num_classes: Outputs of the classifier.
        labelled: A line without a label is a fault.
        testing: The list is for a test, which may do without labels.

    Raises:
        ValueError: With file and lines.
    """
    cure = f'labels go from 0 to {num_classes - 1}'
    faults = [
        Fault(
            number,
            f'label {label} of {path}',
            f'the head has num_classes={num_classes}, so {cure}: mend the list, or set '
            'model.cls_head.num_classes',
        )
        for number, path, labels in rows
        for label in labels
        if not 0 <= label < num_classes
    ]
    cure = f'write "path label", {cure}'
    if testing:
        cure += (
            '; cnnlstm-mm predict and cnnlstm-mm test --dump FILE.pkl take a list without labels'
        )
    if labelled:
        bare = [(number, path) for number, path, labels in rows if not labels]
        faults += [Fault(number, f'{path} has no label', cure) for number, path in bare]
    if faults:
        raise ValueError(format_faults(ann_file, faults))


def check_there(ann_file: str, rows: list[Row], root: str | None) -> None:
    """Refuse a list that names missing local files.

    Args:
        ann_file: The list's name, for the message.
        rows: See :func:`read_list`.
        root: The folder that the paths start from; nothing is looked up in an address ('://').

    Raises:
        FileNotFoundError: With file, lines and cure.
    """
    if root and '://' in root:
        return
    faults = []
    for number, path, _ in rows:
        full = osp.join(root or '', path)
        if '://' not in full and not osp.isfile(full):
            faults.append((number, f'expected an existing file, got {full}'))
    if faults:
        raise FileNotFoundError(
            f'{fault_lines(ann_file, faults)}\nSet data_prefix to the folder that the paths '
            'start from, or write the list again with cnnlstm-mm prepare, which leaves '
            'missing clips out and reports them.'
        )


def load_files(
    ann_file: str,
    root: str | None,
    delimiter: str = ' ',
    multi_class: bool = False,
    label_file: str | Sequence[str] | None = None,
) -> list[dict]:
    """Read a list and check its files; see :func:`read_list` and :func:`check_there`.

    Returns:
        ``filename`` and ``label`` of each line; the label is -1 where the line has none, and a
        list where ``multi_class``.
    """
    rows = read_list(ann_file, delimiter, multi_class, label_file)
    check_there(ann_file, rows, root)
    return [
        dict(
            filename=osp.join(root or '', path),
            label=labels if multi_class else (labels or [-1])[0],
        )
        for _, path, labels in rows
    ]
