"""Archives whose members have hostile names and kinds, and what is left of sound ones."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

from hypothesis import strategies as st

from .judge import Fault

LIMIT = 1_000_000


def cases():
    """Form, members, and what is done to the bytes."""
    part = st.one_of(
        st.sampled_from(['..', '.', '', 'a', 'b.avi', 'C:', '~', 'out', ' ', 'é', '\\..', 'a\0b']),
        st.text(max_size=4),
    )
    name = st.lists(part, min_size=1, max_size=4).map('/'.join)
    kind = st.sampled_from(
        ['file', 'file', 'file', 'big', 'link', 'hard', 'device', 'pipe', 'folder']
    )
    member = st.tuples(name, kind, st.one_of(name, st.just('../../victim')))
    change = st.one_of(
        st.none(),
        st.none(),
        st.tuples(st.just('cut'), st.floats(0, 1)),
        st.tuples(
            st.just('flip'), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)
        ),
    )
    form = st.sampled_from(['zip', 'tar', 'tgz', 'tar.xz', 'tar.bz2'])
    return st.tuples(form, st.lists(member, max_size=4), change)


def make(path, form, members):
    """Write the archive as a hostile program would."""
    if form == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for name, kind, target in members:
                info = zipfile.ZipInfo(name.replace('\0', '') or 'x')
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = dict(link=0o120777, device=0o020666).get(kind, 0) << 16
                archive.writestr(info, bytes(3 * LIMIT) if kind == 'big' else target.encode())
        return
    modes = dict(tar='w', tgz='w:gz') | {'tar.xz': 'w:xz', 'tar.bz2': 'w:bz2'}
    kinds = dict(link=tarfile.SYMTYPE, hard=tarfile.LNKTYPE, device=tarfile.CHRTYPE)
    kinds |= dict(pipe=tarfile.FIFOTYPE, folder=tarfile.DIRTYPE)
    with tarfile.open(path, modes[form]) as archive:
        for name, kind, target in members:
            info = tarfile.TarInfo(name.replace('\0', ''))
            info.type = kinds.get(kind, tarfile.REGTYPE)
            info.linkname = target if kind in ('link', 'hard') else ''
            data = bytes(3 * LIMIT) if kind == 'big' else b''
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def check(case, place):
    """Unpack it."""
    form, members, change = case
    root = Path(place) / 'archives'
    shutil.rmtree(root, ignore_errors=True)
    (root / 'victim').mkdir(parents=True)
    (root / 'victim/kept').write_text('kept')
    path = root / f'a.{form}'
    try:
        make(path, form, members)
    except (UnicodeEncodeError, ValueError):  # no such archive can be written
        path.write_bytes(b'')
    data = bytearray(path.read_bytes())
    if change and change[0] == 'cut':
        data = data[: int(len(data) * change[1])]
    elif change and data:
        for where, value in change[1]:
            data[int(where * (len(data) - 1))] ^= value
    path.write_bytes(data)
    return [path.name], lambda: unpack(path, root)


def unpack(path, root):
    """Nothing outside of out may change, and no more than the limit may be written."""
    from cnnlstm_mm.commands.prepare import archives

    out = root / 'out'
    try:
        archives.unpack(path, out, LIMIT / 1e9)
    finally:
        outside = sorted(p.name for p in root.iterdir())
        if outside not in (['a' + path.name[1:], 'out', 'victim'], ['a' + path.name[1:], 'victim']):
            raise Fault(f'{outside}')
        if [p.name for p in (root / 'victim').iterdir()] != ['kept']:
            raise Fault('a file outside was written')
        if (root / 'victim/kept').read_text() != 'kept':
            raise Fault('a file outside was changed')
        size = sum(p.lstat().st_size for p in out.rglob('*')) if out.is_dir() else 0
        if size > 2 * LIMIT:
            raise Fault(f'{size} bytes were written')
