"""Files of the user's that hold csv or JSON: annotation tables, logs, manifests."""

import json
from pathlib import Path

from hypothesis import strategies as st

from .judge import Fault

COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end', 'split', '', 'LABEL', '\ufefflabel')


def cases():
    """A reader, and the bytes."""
    cell = st.one_of(
        st.sampled_from(['abseiling', 'a b', '"x"', '-1', '1e400', 'nan', 'inf', '', '10', '3.5']),
        st.text(max_size=5),
    )
    head = st.one_of(
        st.just(list(COLUMNS[:4])), st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=5)
    )
    good = st.tuples(
        st.sampled_from(['a', 'b c']),
        st.text('abc_-', min_size=1, max_size=4),
        st.just('1'),
        st.just('11'),
    ).map(list)
    rows = st.lists(st.one_of(good, good, st.lists(cell, max_size=6)), max_size=4)
    text = st.tuples(
        head, rows, st.sampled_from('\n,\r\n,\r'.split(',')), st.sampled_from(',,;\t')
    ).map(lambda part: part[2].join(part[3].join(row) for row in [part[0], *part[1]]))
    code = st.sampled_from(['utf-8', 'utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])
    table = st.tuples(text, code).map(lambda part: part[0].encode(part[1], errors='ignore'))
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
    value = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    ['format', 'splits', 'train', 'clips', 'folder', 'name', 'stamp', 'state']
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=8,
    )
    document = st.one_of(value.map(lambda v: json.dumps(v).encode()), st.binary(max_size=24))
    store = st.one_of(
        document,
        st.tuples(value, value).map(
            lambda v: json.dumps(dict(format=2, shard_clips=v[0], splits=v[1])).encode()
        ),
        value.map(
            lambda v: json.dumps(dict(format=2, shard_clips=2, splits=dict(train=v))).encode()
        ),
    )
    return st.one_of(
        st.tuples(st.just('csv'), st.one_of(table, table, table, st.binary(max_size=24))),
        st.tuples(st.just('log'), st.lists(document, max_size=3).map(b'\n'.join)),
        st.tuples(st.just('manifest'), store),
    )


def check(case, place):
    """Read it with the tool or module that it is for."""
    kind, data = case
    folder = Path(place) / 'tables'
    folder.mkdir(exist_ok=True)
    path = folder / dict(csv='train.csv', log='checked.jsonl', manifest='manifest.json')[kind]
    path.write_bytes(data)
    words = [] if kind == 'log' else [f'{path.name}|{folder}']
    return words, lambda: globals()[f'read_{kind}'](path)


def tool(name):
    """A module of the preparations."""
    import importlib

    return importlib.import_module(f'cnnlstm_mm.commands.prepare.{name}')


def read_csv(path):
    """The annotation table of Kinetics."""
    for clip in tool('kinetics').read_csv(path):
        if not isinstance(clip.start, int) or not isinstance(clip.end, int):
            raise Fault(f'{path.read_bytes()!r} gives {clip}')


def read_log(path):
    """What an earlier preparation wrote: whatever is in it, the videos are checked again."""
    found = tool('probing')._read_log(path)
    if not all(isinstance(entry, dict) for entry in found.values()):
        raise Fault(f'{path.read_bytes()!r} gives {found}')


def read_manifest(path):
    """The manifest of a feature store."""
    from cnnlstm_mm.features.store import FeatureStore

    FeatureStore(path.parent, 'train')
