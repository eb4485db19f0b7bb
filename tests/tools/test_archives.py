"""tools/data/archives.py: hostile and broken archives, made here, are refused by name."""

import io
import os
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from helpers.rar_files import make_rar, needs_rar

from cnnlstm_mm.commands.prepare import archives

DATA = bytes(range(256)) * 9


def make_zip(path, members):
    """Members: name to bytes, or to a ZipInfo's external_attr and bytes."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if isinstance(data, tuple):
                info.external_attr, data = data[0] << 16, data[1]
            archive.writestr(info, data)
    return path


def make_tar(path, members):
    """Members: name to bytes, or to attributes of a TarInfo."""
    with tarfile.open(path, 'w:gz') as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, dict):
                for key, value in data.items():
                    setattr(info, key, value)
                data = b''
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def snapshot(folder):
    return {
        p.relative_to(folder).as_posix(): p.is_file() and p.read_bytes() for p in folder.rglob('*')
    }


@pytest.fixture
def place(tmp_path):
    """A folder whose surroundings must not change."""
    (tmp_path / 'victim').mkdir()
    (tmp_path / 'victim/kept.txt').write_text('kept')
    return tmp_path


def refused(place, source, match, kind=ValueError, **options):
    before = {k: v for k, v in snapshot(place).items() if k.split('/')[0] != 'out'}
    with pytest.raises(kind, match=match) as error:
        archives.unpack(source, place / 'out', **options)
    assert source.name in str(error.value) and 'fix: ' in str(error.value)
    after = {k: v for k, v in snapshot(place).items() if k.split('/')[0] != 'out'}
    assert after == before
    assert not (place / 'out/.unpacked').exists()


@pytest.mark.parametrize('make, name', [(make_zip, 'a.zip'), (make_tar, 'a.tar.gz')])
def test_sound_archives(place, make, name):
    source = make(place / name, {'UCF-101/a b.avi': DATA, 'UCF-101/é/c.avi': b''})
    out = archives.unpack(source, place / 'out')
    assert (out / 'UCF-101/a b.avi').read_bytes() == DATA and (out / 'UCF-101/é/c.avi').is_file()
    (out / 'UCF-101/a b.avi').unlink()
    assert archives.unpack(source, out) == out  # once
    assert not (out / 'UCF-101/a b.avi').exists()


@pytest.mark.parametrize('make, suffix', [(make_zip, 'zip'), (make_tar, 'tgz')])
@pytest.mark.parametrize(
    'path', ['../victim/kept.txt', '/tmp/victim.txt', 'a/../../victim/kept.txt']
)
def test_paths_outside(place, make, suffix, path):
    source = make(place / f'a.{suffix}', {'good.avi': DATA, path: b'overwritten'})
    refused(place, source, 'a path outside of the folder')


@pytest.mark.parametrize('name', ['C:x.avi', '..\\victim\\kept.txt'])
def test_paths_of_windows(place, name):
    refused(place, make_zip(place / 'a.zip', {name: b'overwritten'}), 'outside of the folder')


def test_links(place):
    link = dict(type=tarfile.SYMTYPE, linkname='../victim')
    refused(
        place, make_tar(place / 'a.tar.gz', {'in': link, 'in/kept.txt': b'overwritten'}), "'in'"
    )
    hard = dict(type=tarfile.LNKTYPE, linkname='../victim/kept.txt')
    refused(place, make_tar(place / 'b.tar.gz', {'in': hard}), "'in'")
    lost = make_tar(place / 'd.tar.gz', {'in': dict(type=tarfile.LNKTYPE, linkname='gone')})
    refused(place, lost, 'gone.*fix: download', RuntimeError)
    device = dict(type=tarfile.CHRTYPE, devmajor=1, devminor=3)
    refused(place, make_tar(place / 'c.tar.gz', {'in': device}), "'in'")
    refused(
        place, make_zip(place / 'a.zip', {'in': (0o120777, b'../victim')}), 'a link or a device'
    )


def test_a_link_that_stands_in_the_output(place):
    (place / 'out').mkdir()
    (place / 'out/in').symlink_to(place / 'victim')
    refused(place, make_zip(place / 'a.zip', {'in/kept.txt': b'overwritten'}), 'through a link')
    refused(place, make_tar(place / 'a.tgz', {'in/kept.txt': b'overwritten'}), 'through a link')


@pytest.mark.parametrize('make, suffix', [(make_zip, 'zip'), (make_tar, 'tgz')])
def test_bombs(place, monkeypatch, make, suffix):
    source = make(place / f'a.{suffix}', {f'{k}.avi': bytes(200_000) for k in range(9)})
    refused(place, source, 'at most 0.001 GB, got more; fix: .*--max-size', max_size=0.001)
    monkeypatch.setattr(archives, 'ALLOWANCE', 100_000)
    refused(place, source, 'got more')
    assert archives.unpack(source, place / 'out', max_size=0.01)


def test_a_zip_that_lies_about_its_size(place):
    source = make_zip(place / 'a.zip', {'a.avi': bytes(3_000_000)})
    data = source.read_bytes()
    source.write_bytes(data.replace((3_000_000).to_bytes(4, 'little'), (9).to_bytes(4, 'little')))
    refused(place, source, 'sound archive|got more', (ValueError, RuntimeError), max_size=0.001)


@pytest.mark.parametrize('make, suffix', [(make_zip, 'zip'), (make_tar, 'tgz')])
@pytest.mark.parametrize('how', ['cut', 'flip', 'text'])
def test_damage(place, make, suffix, how):
    source = make(place / f'a.{suffix}', {'a.avi': os.urandom(5000)})
    data = bytearray(source.read_bytes())
    if how == 'flip':
        data[len(data) // 2] ^= 255
    source.write_bytes(dict(cut=data[: len(data) // 2], flip=data, text=b'not an archive')[how])
    refused(place, source, 'cannot be unpacked', RuntimeError)


def test_passwords_and_volumes(place):
    source = make_zip(place / 'a.zip', {'a.avi': DATA})
    data = bytearray(source.read_bytes())
    for mark, flags in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.index(mark) + flags] |= 1
    source.write_bytes(data)
    refused(place, source, 'without a password')
    for name in ('UCF101.part2.rar', 'UCF101.part012.rar', 'UCF101.r00', 'UCF101.zip.002'):
        (place / name).write_bytes(b'x')
        refused(place, place / name, 'expected the first volume')


@pytest.fixture
def program(place, monkeypatch):
    """A program named unrar that does what the test says, in the folder of its last argument."""

    def make(script):
        folder = place / 'bin'
        folder.mkdir(exist_ok=True)
        (folder / 'unrar').write_text(f'#!/bin/sh\nfor out; do :; done; cd "$out"\n{script}\n')
        (folder / 'unrar').chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}:/usr/bin:/bin')
        real = archives.shutil.which
        monkeypatch.setattr(archives.shutil, 'which', lambda n: n == 'unrar' and real(n))
        (place / 'a.rar').write_bytes(b'Rar!')
        return place / 'a.rar'

    return make


def test_programs_are_watched(place, program):
    source = program('mkdir c; echo x > c/a.avi; ln -s a.avi c/b.avi')
    out = archives.unpack(source, place / 'out')
    assert sorted(p.name for p in out.rglob('*')) == ['.unpacked', 'a.avi', 'b.avi', 'c']


@pytest.mark.parametrize(
    'script, match, kind',
    [
        ('ln -s ../../victim in', 'a device or a link outside', ValueError),
        ('mkfifo in', 'a device or a link outside', ValueError),
        ('head -c 3000000 /dev/zero > a; sleep 60', 'got more; fix: .*--max-size', ValueError),
        ('echo Incorrect password for a.avi; exit 11', 'without a password', ValueError),
        ('echo Cannot find volume a.part2.rar; exit 1', 'all of its volumes.*part2', RuntimeError),
    ],
)
def test_what_programs_leave_is_checked(place, program, script, match, kind):
    refused(place, program(script), match, kind, max_size=0.001)
    assert list((place / 'out').iterdir()) == []


def test_what_unpacks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(archives.shutil, 'which', lambda name: None)
    with pytest.raises(RuntimeError, match='unrar, bsdtar, 7z'):
        archives.unpack_commands(Path('UCF101.rar'), tmp_path)
    monkeypatch.setattr(archives.shutil, 'which', lambda name: name == 'bsdtar')
    assert archives.unpack_commands(Path('UCF101.rar'), tmp_path) == [
        ['bsdtar', '-xf', 'UCF101.rar', '-C', str(tmp_path)]
    ]
    with pytest.raises(FileNotFoundError, match='absent.rar'):
        archives.unpack(tmp_path / 'absent.rar', tmp_path)


@needs_rar
def test_a_rar_is_unpacked_by_the_first_program_that_can(tmp_path):
    files = {'UCF-101/Punch/v_Punch_g01_c01.avi': bytes(range(256)) * 9}
    (tmp_path / 'UCF101.rar').write_bytes(make_rar(files))
    out = archives.unpack(tmp_path / 'UCF101.rar', tmp_path / 'out')
    assert {
        path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob('*.avi')
    } == files
    (tmp_path / 'cut.rar').write_bytes(make_rar(files)[:200])
    with pytest.raises(RuntimeError, match='cut.rar, which cannot be unpacked'):
        archives.unpack(tmp_path / 'cut.rar', tmp_path / 'cut')


def test_files_of_a_zip_keep_their_times(tmp_path):
    """Unpacked again they are the same files to whoever compares sizes and times."""
    for name, date in (('a.zip', (2020, 5, 6, 7, 8, 10)), ('b.zip', (1980, 0, 0, 0, 0, 0))):
        with zipfile.ZipFile(tmp_path / name, 'w') as archive:
            info = zipfile.ZipInfo('folder/clip.avi')
            info.date_time = date
            archive.writestr(info, b'frames')
        out = archives.unpack(tmp_path / name, tmp_path / name[0])
        assert (out / 'folder/clip.avi').read_bytes() == b'frames'
    stat = (tmp_path / 'a/folder/clip.avi').stat()
    assert time.localtime(stat.st_mtime)[:6] == (2020, 5, 6, 7, 8, 10)
