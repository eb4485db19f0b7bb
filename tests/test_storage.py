"""Files that are complete or as they were before."""

import errno
import os
import subprocess
import sys

import pytest

from cnnlstm_mm import storage
from cnnlstm_mm.storage import atomic_path, write_json, write_text


def test_new_and_old_files(tmp_path):
    path = tmp_path / 'new/folder/list.txt'
    write_text(path, 'ä 0\n')
    assert path.read_bytes() == 'ä 0\n'.encode()
    write_json(path, dict(a=[1]), indent=1)
    assert path.read_text() == '{\n "a": [\n  1\n ]\n}\n'
    assert os.listdir(path.parent) == ['list.txt']


@pytest.mark.parametrize('place', ['block', 'verify', 'fsync', 'replace'])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, place):
    path = tmp_path / 'list.txt'
    path.write_text('old')

    def fail(*args):
        raise OSError(errno.ENOSPC, 'full')

    if place in ('fsync', 'replace'):
        monkeypatch.setattr(storage.os, place, fail)
    with pytest.raises(OSError, match='full'):
        with atomic_path(path, fail if place == 'verify' else None) as temporary:
            temporary.write_text('new')
            if place == 'block':
                fail()
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['list.txt']


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / 'list.txt', []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        storage.os, 'fsync', lambda handle: (seen.append(os.fstat(handle).st_size), sync(handle))
    )
    monkeypatch.setattr(
        storage.os, 'replace', lambda *args: (seen.append('replace'), replace(*args))
    )
    write_text(path, 'four')
    assert seen[:2] == [4, 'replace'] and len(seen) == 3  # the folder comes last


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / 'target.txt', tmp_path / 'links/link.txt'
    target.write_text('old')
    link.parent.mkdir()
    link.symlink_to(target)
    write_text(link, 'new')
    assert link.is_symlink() and target.read_text() == 'new'


def test_a_pipe_is_written_directly():
    code = "from cnnlstm_mm.storage import write_text; write_text('/dev/stdout', 'said')"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.endswith('said'), done.stderr
