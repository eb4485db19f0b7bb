"""Checked index beside annotation lists: what the prepare tools found out about each clip.

It is an SQLite file: one file that is written atomically, read through a memory map that all
processes share, asked by row in microseconds, and opened by Python's standard library and by
every database tool.
"""

import os
import os.path as osp
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, overload
from urllib.parse import quote

from mmengine.dist import broadcast_object_list, get_rank, is_distributed
from torch.utils.data import get_worker_info

from cnnlstm_mm.run_identity import file_hash
from cnnlstm_mm.storage import atomic_path

from .annotation_list import fault_lines

NAME = 'clips.sqlite'
FACTS = ('size', 'mtime_ns', 'frames', 'fps', 'width', 'height', 'codec', 'rotation', 'hash')
CHECKED = 1000  # files that are looked up at the start of a training, evenly over the list
SCHEMA = f"""
create table if not exists clips (
    id integer primary key, root text, path text, {', '.join(FACTS)}, unique (root, path));
create table if not exists lists (id integer primary key, name text unique, sha256 text);
create table if not exists entries (
    list integer, row integer, clip integer, label integer, primary key (list, row)
) without rowid;
"""
STAGES = f"""
attach '' as stage;
create table stage.lists (name text primary key, sha256 text);
create table stage.clips (root text, path text, {', '.join(FACTS)}, primary key (root, path));
create table stage.entries (name text, row integer, root text, path text, label integer);
"""


def write_index(
    path: str | Path,
    root: str,
    lists: Mapping[str, Iterable[tuple[str, int]]],
    facts: dict[str, dict],
) -> None:
    """Add lists that stand beside the index, or replace them; others in it stay.

    Args:
        path: The index.
        root: Folder that the lists' paths start from, relative to the index.
        lists: Path and label of each line by the name of the list, which is written already.
        facts: ``FACTS`` of each path; those that are unknown are left out.
    """
    path, columns = Path(path), f'root, path, {", ".join(FACTS)}'
    with atomic_path(path) as temporary, closing(sqlite3.connect(temporary)) as db:
        db.executescript(SCHEMA + STAGES)
        if path.is_file():
            db.execute('attach ? as old', (str(path),))
            db.executescript(f"""
                insert into stage.lists select name, sha256 from old.lists;
                insert into stage.clips select {columns} from old.clips;
                insert into stage.entries select name, row, root, path, label from old.entries
                    join old.lists on list = old.lists.id join old.clips on clip = old.clips.id;
            """)
        marks = ', '.join('?' * (2 + len(FACTS)))
        db.executemany(
            f'insert or replace into stage.clips values ({marks})',
            ((root, name, *map(found.get, FACTS)) for name, found in facts.items()),
        )
        for name, rows in lists.items():
            db.execute('delete from stage.entries where name = ?', (name,))
            digest = _digest(str(path.with_name(name)))
            db.execute('insert or replace into stage.lists values (?, ?)', (name, digest))
            db.executemany(
                'insert into stage.entries values (?, ?, ?, ?, ?)',
                ((name, row, root, clip, label) for row, (clip, label) in enumerate(rows)),
            )
        # Everything in order, so that the same lists and facts make the same bytes.
        db.executescript(f"""
            begin;
            insert into main.clips ({columns}) select {columns} from stage.clips
                where (root, path) in (select root, path from stage.entries) order by root, path;
            insert into main.lists (name, sha256)
                select name, sha256 from stage.lists order by name;
            insert into main.entries select l.id, e.row, c.id, e.label from stage.entries as e
                join main.lists as l using (name)
                join main.clips as c on c.root = e.root and c.path = e.path order by l.id, e.row;
            commit;
        """)


class IndexedClips(Sequence):
    """Rows of one list, read from the index when they are asked for.

    Args:
        index: The index.
        number: Of the list in it.
        root: Folder that the list's paths start from.
        rows: Which rows.
    """

    def __init__(self, index: str, number: int, root: str, rows: Sequence[int]) -> None:
        self.file, self.number, self.root, self.rows = index, number, root, rows
        self._db: tuple[int, sqlite3.Connection] | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_db': None}

    def __deepcopy__(self, memo: dict) -> 'IndexedClips':
        return IndexedClips(self.file, self.number, self.root, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, item: int) -> dict: ...
    @overload
    def __getitem__(self, item: slice) -> 'IndexedClips': ...
    def __getitem__(self, item: int | slice) -> Any:
        """``filename``, ``label`` and ``indexed_frames`` of a row, or a part of the rows."""
        if isinstance(item, slice):
            return IndexedClips(self.file, self.number, self.root, self.rows[item])
        path, label, frames = self._ask(
            'select path, label, frames from entries join clips on clip = id '
            'where list = ? and row = ?',
            self.rows[item],
        ).fetchone()
        return dict(filename=osp.join(self.root, path), label=label, indexed_frames=frames)

    def labels(self) -> list[tuple[int, str, list[int]]]:
        """The first line of each label, as :func:`read_list` gives it."""
        query = (
            'select row + 1, path, label from (select min(row) as row, label, clip from entries '
            'where list = ? group by label) join clips on clip = id'
        )
        return [(row, path, [label]) for row, path, label in self._ask(query)]

    def check_files(self, ann_file: str) -> None:
        """Look up ``CHECKED`` of the files.

        Raises:
            FileNotFoundError: If one is missing.
            ValueError: If one has another size than in the index.
        """
        missing, changed = [], []
        for row in self.rows[:: -(-len(self) // CHECKED) or 1]:
            path, size = self._ask(
                'select path, size from entries join clips on clip = id where list = ? and row = ?',
                row,
            ).fetchone()
            path = osp.join(self.root, path)
            try:
                found = os.stat(path).st_size
            except OSError:
                missing.append((row + 1, f'{path} is not there'))
                continue
            if size is not None and found != size:
                changed.append((row + 1, f'{path} has {found} bytes, and {size} in the index'))
        if missing:
            raise FileNotFoundError(
                f'{fault_lines(ann_file, missing)}\nSet data_prefix to the folder that the paths '
                'start from, or write the list anew with cnnlstm-mm prepare.'
            )
        if changed:
            raise ValueError(
                f'{fault_lines(ann_file, changed)}\nfix: write list and index anew with '
                f'cnnlstm-mm prepare, or remove {self.file}.'
            )

    def _ask(self, query: str, *values: Any) -> sqlite3.Cursor:
        if self._db is None or self._db[0] != os.getpid():  # SQLite must not cross a fork
            self._db = os.getpid(), connect(self.file)
        return self._db[1].execute(query, (self.number, *values))


def connect(index: str | Path) -> sqlite3.Connection:
    """Open an index for reading, through a memory map."""
    address = f'file:{quote(osp.abspath(index))}?mode=ro&immutable=1'
    db = sqlite3.connect(address, uri=True, check_same_thread=False)
    db.execute('pragma mmap_size = 8589934592')
    return db


def find_clips(ann_file: str, root: str | None) -> IndexedClips | None:
    """Rows of a list in the index beside it; None without one, or if the list was changed."""
    index = osp.join(osp.dirname(ann_file), NAME)
    if '://' in ann_file or not osp.isfile(index) or not osp.isfile(ann_file):
        return None
    try:
        with closing(connect(index)) as db:
            found = db.execute(
                'select id, sha256 from lists where name = ?', (osp.basename(ann_file),)
            ).fetchone()
            if found is None or found[1] != _digest(ann_file):
                return None
            (rows,) = db.execute(
                'select count(*) from entries where list = ?', found[:1]
            ).fetchone()
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f'expected an index of clips, got {index} ({error}); fix: remove it, and write it '
            'anew with cnnlstm-mm prepare'
        ) from None
    return IndexedClips(index, found[0], root or '', range(rows))


def open_clips(ann_file: str, root: str | None) -> IndexedClips | None:
    """Rows of a list in a checked index; rank 0 checks, the others receive.

    Returns:
        None without an index, or if the list was changed since.

    Raises:
        FileNotFoundError, ValueError: See :meth:`IndexedClips.check_files`, on all ranks.
    """
    together = is_distributed() and get_worker_info() is None
    answer: list[Any] = [None]
    if not together or get_rank() == 0:
        try:
            answer[0] = find_clips(ann_file, root)
            if answer[0] is not None:
                answer[0].check_files(ann_file)
        except (OSError, ValueError) as error:
            answer[0] = error
    if together:
        broadcast_object_list(answer)
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def duplicates(index: str | Path) -> list[list[tuple[str, set[str]]]]:
    """Groups of clips with the same bytes: path, and the lists that name it.

    Files of equal size and number of frames are compared by their hash; their folder is that of
    the index.
    """
    groups: dict[tuple, list[tuple[str, set[str]]]] = {}
    query = (
        'select c.id, root, path, c.size, c.frames, hash from clips c join (select size, frames '
        'from clips where size is not null group by size, frames having count(*) > 1) same on '
        'c.size = same.size and c.frames = same.frames'
    )
    with closing(connect(index)) as db:
        for number, root, path, size, frames, known in db.execute(query).fetchall():
            digest = known or _digest(osp.join(osp.dirname(index), root, path))
            lists = db.execute(
                'select distinct name from entries join lists on list = id where clip = ?',
                (number,),
            )
            member = osp.join(root, path), {name for (name,) in lists}
            groups.setdefault((size, frames, digest), []).append(member)
    return [group for group in groups.values() if len(group) > 1]


def shared(index: str | Path, one: str, two: str) -> Iterator[str]:
    """Paths that two lists both name."""
    query = 'select clip from entries join lists on list = id where name = ?'
    with closing(connect(index)) as db:
        sql = f'select path from clips where id in ({query}) and id in ({query}) order by path'
        yield from (path for (path,) in db.execute(sql, (one, two)))


def _digest(path: str) -> str:
    stat = os.stat(path)
    return _cached_digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache
def _cached_digest(path: str, size: int, time: int) -> str:
    return file_hash(path)
