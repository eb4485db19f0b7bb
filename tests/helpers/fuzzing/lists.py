"""Annotation lists: text, and bytes that are none."""

from pathlib import Path

from hypothesis import strategies as st

from .judge import Fault

CLASSES = 5
FILES = ('a.avi', 'b.avi', 'sub/c.avi')


def cases():
    """Bytes of a list, its delimiter, and whether it has several labels."""
    label = st.one_of(
        st.integers(-2, 7).map(str),
        st.integers(-(10**30), 10**30).map(str),
        st.sampled_from(['1_0', '٣', '+1', '1.0', '0x1', 'nan', '', '1e0']),
        st.text(max_size=4),
    )
    path = st.one_of(
        st.sampled_from(FILES),
        st.sampled_from(
            [
                '',
                '.',
                '..',
                '/',
                'sub',
                '../x',
                'a.avi\0',
                '\ufeffa.avi',
                'http://x/y.avi',
                'a.avi/',
                '~/a.avi',
            ]
        ),
        st.text(max_size=6),
    )
    between = st.sampled_from([' ', '\t', '  ', ',', ''])
    line = st.one_of(
        st.tuples(path, between, label).map(''.join),
        st.tuples(path, st.just(' '), label, st.just(' '), label).map(''.join),
        st.text(max_size=8),
    )
    good = st.tuples(st.sampled_from(FILES), st.just(' '), st.integers(0, 4).map(str)).map(''.join)
    lines = st.lists(st.one_of(good, good, good, line), max_size=4)
    text = st.tuples(lines, st.sampled_from(['\n', '\r\n', '\r', '\n\n'])).map(
        lambda part: part[1].join(part[0])
    )
    encoded = st.tuples(text, st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])).map(
        lambda part: part[0].encode(part[1], errors='ignore')
    )
    return st.tuples(
        st.one_of(encoded, encoded, encoded, st.binary(max_size=24)),
        st.sampled_from([' ', ' ', '\t']),
        st.booleans(),
    )


def check(case, place):
    """Read a list, look for its files and check its labels."""
    data, delimiter, several = case
    root = Path(place) / 'lists'
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    ann_file = root / 'list.txt'
    ann_file.write_bytes(data)
    return [str(ann_file)], lambda: read(ann_file, root, delimiter, several)


def read(ann_file, root, delimiter, several):
    from cnnlstm_mm.datasets.annotation_list import check_labels, load_files, read_list

    rows = read_list(str(ann_file), delimiter, several)
    check_labels(str(ann_file), rows, CLASSES)
    for info in load_files(str(ann_file), str(root), delimiter, several):
        labels = info['label'] if several else [info['label']]
        if not Path(info['filename']).is_file() or not all(
            0 <= label < CLASSES for label in labels
        ):
            raise Fault(f'{ann_file.read_bytes()!r} gives {info}')
