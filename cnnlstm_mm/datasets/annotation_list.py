"""Annotation lists, ``path label`` a line: read, or refused by line."""

import os.path as osp
import re

from mmengine.fileio import list_from_file

from cnnlstm_mm.text import truncate_list

NUMBER = re.compile('-?[0-9]{1,18}')
Row = tuple[int, str, list[int]]  # line number from 1, path, labels


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


def read_list(ann_file: str, delimiter: str = ' ', multi_class: bool = False) -> list[Row]:
    """Read an annotation list of MMAction2's VideoDataset.

    Args:
        ann_file: The list: ``path label`` a line, with any number of labels where
            ``multi_class``. A path alone has no label, as in lists for inference. Blank lines
            are passed over.
        delimiter: Between path and label.
        multi_class: Several labels a line are allowed.

    Raises:
        ValueError: If the list is empty, or a line has a space in its path or a label that is
            not an integer; with file, line and cure.
    """
    rows, faults = [], []
    for number, line in read_lines(ann_file):
        tokens = line.split(delimiter)
        path, *labels = tokens
        # Not int() alone, which takes 1_0 for 10.
        if not path or not all(map(NUMBER.fullmatch, labels)):
            faults.append((number, f'{line!r} is not "path label"'))
        elif len(labels) > 1 and not multi_class:
            faults.append((number, f'{line!r} has {len(labels)} labels'))
        else:
            rows.append((number, path, [int(label) for label in labels]))
    if faults:
        raise ValueError(
            f'{fault_lines(ann_file, faults)}\nA path must not hold the delimiter '
            f'({delimiter!r}): rename the files, or write the list with tabs and set the data '
            "set's delimiter='\\t'. Lists with several labels a line need multi_class=True."
        )
    if not rows:
        raise ValueError(f'{ann_file} is empty: it must hold "path label" lines.')
    return rows


def check_labels(ann_file: str, rows: list[Row], num_classes: int, labelled: bool = True) -> None:
    """Refuse labels that the classifier has no output for.

    Args:
        ann_file: The list's name, for the message.
        rows: See :func:`read_list`.
        num_classes: Outputs of the classifier.
        labelled: A line without a label is a fault.

    Raises:
        ValueError: With file and lines.
    """
    faults = [
        (number, f'label {label} of {path}')
        for number, path, labels in rows
        for label in labels
        if not 0 <= label < num_classes
    ]
    if labelled:
        faults += [(number, f'{path} has no label') for number, path, labels in rows if not labels]
    if faults:
        raise ValueError(
            f'{fault_lines(ann_file, faults)}\nThe head has num_classes={num_classes}: labels go '
            f'from 0 to {num_classes - 1}. Mend the list, or set model.cls_head.num_classes.'
        )


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
            'start from, or write the list again with tools/data/prepare_*.py, which leaves '
            'missing clips out and reports them.'
        )


def load_files(
    ann_file: str, root: str | None, delimiter: str = ' ', multi_class: bool = False
) -> list[dict]:
    """Read a list and check its files; see :func:`read_list` and :func:`check_there`.

    Returns:
        ``filename`` and ``label`` of each line; the label is -1 where the line has none, and a
        list where ``multi_class``.
    """
    rows = read_list(ann_file, delimiter, multi_class)
    check_there(ann_file, rows, root)
    return [
        dict(
            filename=osp.join(root or '', path),
            label=labels if multi_class else (labels or [-1])[0],
        )
        for _, path, labels in rows
    ]


def fault_lines(ann_file: str, faults: list[tuple[int, str]]) -> str:
    """Name faults as ``file, line: fault``, the first 10 of many."""
    lines = [f'{ann_file}, line {number}: {fault}' for number, fault in sorted(faults)]
    return truncate_list(lines, separator='\n')
