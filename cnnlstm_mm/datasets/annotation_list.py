"""Annotation lists, ``path label`` a line: read, or refused by line."""

import os.path as osp
import re

from mmengine.fileio import list_from_file

SHOWN = 10  # of many faults, so many are named
NUMBER = re.compile('-?[0-9]{1,18}')


def read_list(
    ann_file: str, delimiter: str = ' ', multi_class: bool = False
) -> list[tuple[int, str, list]]:
    """Read an annotation list of MMAction2's VideoDataset.

    Args:
        ann_file (str): The list: ``path label`` a line, with several labels
            where ``multi_class``. A path alone has no label, as in lists for
            inference. Blank lines are passed over.
        delimiter (str): What stands between path and label. Defaults to ' '.
        multi_class (bool): Whether a line may have any number of labels.
            Defaults to False.

    Returns:
        list[tuple]: Line number from 1, path and labels of each line.

    Raises:
        ValueError: If the list is empty, or a line has a space in its path or
            a label that is no integer; with file, line and cure.
    """
    rows, faults = [], []
    try:
        lines = list_from_file(ann_file, encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{ann_file} is no UTF-8 text ({error.reason} at byte '
            f'{error.start}): write the list anew, or convert it with iconv.'
        ) from None
    for number, line in enumerate(lines, start=1):
        tokens = line.strip().split(delimiter)
        if tokens == ['']:
            continue
        path, *labels = tokens
        # Not int() alone, which takes 1_0 for 10.
        if not path or not all(map(NUMBER.fullmatch, labels)):
            faults.append((number, f'{line.strip()!r} is not "path label"'))
            continue
        labels = [int(label) for label in labels]
        if len(labels) > 1 and not multi_class:
            faults.append((number, f'{line.strip()!r} has {len(labels)} labels'))
            continue
        rows.append((number, path, labels))
    if faults:
        raise ValueError(
            f'{fault_lines(ann_file, faults)}\nA path must not hold the '
            f'delimiter ({delimiter!r}): rename the files, or write the list '
            "with tabs and set the data set's delimiter='\\t'. Lists with "
            'several labels a line need multi_class=True.'
        )
    if not rows:
        raise ValueError(f'{ann_file} is empty: it must hold "path label" lines.')
    return rows


def check_labels(
    ann_file: str, rows: list[tuple[int, str, list]], num_classes: int, labelled: bool = True
) -> None:
    """Refuse labels that the classifier has no output for.

    Args:
        ann_file (str): The list's name, for the message.
        rows (list[tuple]): See :func:`read_list`.
        num_classes (int): Outputs of the classifier.
        labelled (bool): Whether a line without a label is a fault. Defaults
            to True.

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
            f'{fault_lines(ann_file, faults)}\nThe head has num_classes='
            f'{num_classes}: labels go from 0 to {num_classes - 1}. Mend the '
            'list, or set model.cls_head.num_classes.'
        )


def check_there(ann_file: str, rows: list[tuple[int, str, list]], root: str | None) -> None:
    """Refuse a list that names local files which are not there.

    Args:
        ann_file (str): The list's name, for the message.
        rows (list[tuple]): See :func:`read_list`.
        root (str, optional): The folder that the paths start from. Nothing
            is looked up where it is an address with ``://``.

    Raises:
        FileNotFoundError: With file, lines and cure.
    """
    if root and '://' in root:
        return
    faults = []
    for number, path, _ in rows:
        full = osp.join(root or '', path)
        if '://' not in full and not osp.isfile(full):
            faults.append((number, f'{full} is not there'))
    if faults:
        raise FileNotFoundError(
            f'{fault_lines(ann_file, faults)}\nSet data_prefix to the folder '
            'that the paths start from, or write the list anew with '
            'tools/data/prepare_*.py, which leaves missing clips out and '
            'reports them.'
        )


def load_files(ann_file: str, root: str | None, delimiter: str, multi_class: bool) -> list[dict]:
    """Read a list and check that its files are there.

    Args:
        ann_file (str): See :func:`read_list`.
        root (str, optional): See :func:`check_there`.
        delimiter (str): See :func:`read_list`.
        multi_class (bool): See :func:`read_list`.

    Returns:
        list[dict]: ``filename`` and ``label`` of each line; the label is -1
        where there is none, and a list where ``multi_class``.

    Raises:
        ValueError, FileNotFoundError: See there.
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
    """Name faults as ``file, line: fault``, the first ``SHOWN`` of many."""
    lines = [f'{ann_file}, line {number}: {fault}' for number, fault in sorted(faults)[:SHOWN]]
    if len(faults) > SHOWN:
        lines.append(f'and {len(faults) - SHOWN} more lines')
    return '\n'.join(lines)
