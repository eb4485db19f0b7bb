"""Files that are complete or as they were before."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from helpers.tree import snapshot

from cnnlstm_mm.storage import (
    InUseError,
    OutputFolder,
    atomic_path,
    check_stamp,
    locked,
    write_json,
    write_text,
)


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
        monkeypatch.setattr(os, place, fail)
    with pytest.raises(OSError, match='No space left on device.*list.txt'):
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
        os, 'fsync', lambda handle: (seen.append(os.fstat(handle).st_size), sync(handle))
    )
    monkeypatch.setattr(os, 'replace', lambda *args: (seen.append('replace'), replace(*args)))
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


def held(record, **changes):
    """A lock's file as a process of this host wrote it."""
    with locked(record.parent, 'tool'):
        mine = json.loads(record.read_text())
    record.write_text(json.dumps({**mine, **changes}))


def ended_process() -> int:
    child = subprocess.Popen(['true'])
    child.wait()
    return child.pid


def test_a_lock_names_its_holder(tmp_path):
    with locked(tmp_path, 'first'):
        for _ in range(2):
            with pytest.raises(InUseError, match=rf'in use by first \(process {os.getpid()} on'):
                with locked(tmp_path, 'second'):
                    pass
        with locked(tmp_path / 'a.onnx', 'export', file=True):
            with locked(tmp_path / 'b.onnx', 'export', file=True):
                pass
            with pytest.raises(InUseError, match='a.onnx: expected it free'):
                with locked(tmp_path / 'a.onnx', 'export', file=True):
                    pass
        with locked(tmp_path, 'another rank', active=False):
            pass
    assert not os.listdir(tmp_path)


def test_the_lock_of_a_process_that_ended_is_taken_over(tmp_path, capsys):
    record = tmp_path / '.in_use.json'
    for changes in (dict(pid=ended_process()), dict(start='another boot 1')):
        held(record, **changes)
        with locked(tmp_path, 'second'):
            assert json.loads(record.read_text())['pid'] == os.getpid()
        assert 'Taking over' in capsys.readouterr().out
    record.write_text('{"pid": 1')  # a damaged one, of an unknown host
    with pytest.raises(InUseError, match='if it has ended there, remove .*in_use.json'):
        with locked(tmp_path, 'second'):
            pass


def test_the_lock_of_another_host_is_left(tmp_path, monkeypatch):
    record = tmp_path / '.in_use.json'
    held(record, host='node7', pid=ended_process())
    with pytest.raises(InUseError, match='on node7.*another host.*remove .*in_use.json'):
        with locked(tmp_path, 'second'):
            pass
    record.unlink()
    # Slurm, or torchrun, ended this job there and began it here.
    for job, restarts in (
        ('TORCHELASTIC_RUN_ID', 'TORCHELASTIC_RESTART_COUNT'),
        ('SLURM_JOB_ID', 'SLURM_RESTART_COUNT'),
    ):
        monkeypatch.setenv(job, '12')
        held(record, host='node7')
        with pytest.raises(InUseError):
            with locked(tmp_path, 'second'):
                pass
        monkeypatch.setenv(restarts, '1')
        with locked(tmp_path, 'second'):
            pass


def hold(folder, start, results):
    start.wait()
    try:
        with locked(folder, 'tool'):
            results.put('held')
            time.sleep(0.5)
    except InUseError:
        results.put('refused')


def test_one_of_many_takes_over(tmp_path):
    context = multiprocessing.get_context('fork')
    held(tmp_path / '.in_use.json', pid=ended_process())
    start, results = context.Event(), context.Queue()
    children = [context.Process(target=hold, args=(tmp_path, start, results)) for _ in range(6)]
    for child in children:
        child.start()
    start.set()
    assert sorted(results.get(timeout=60) for _ in children) == ['held'] + ['refused'] * 5
    for child in children:
        child.join()


def test_a_lock_ends_with_its_process_whatever_its_children_do(tmp_path):
    """As the decoding workers of a killed run, which outlive it for seconds."""
    code = (
        'import os, signal, sys, time; from cnnlstm_mm.storage import locked\n'
        'with locked(sys.argv[1], "first"):\n'
        '    if os.fork(): os.kill(os.getpid(), signal.SIGKILL)\n'
        '    print(os.getpid(), flush=True); time.sleep(60)\n'
    )
    first = subprocess.Popen([sys.executable, '-c', code, tmp_path], stdout=subprocess.PIPE)
    child = int(first.stdout.readline())
    first.wait()
    try:
        with locked(tmp_path, 'second'):
            pass
    finally:
        os.kill(child, 9)


def test_a_stamp_names_each_difference(tmp_path):
    path = tmp_path / 'settings.json'
    assert not check_stamp(path, dict(size=64, parts=['a']))
    assert check_stamp(path, dict(size=64, parts=['a']))
    with pytest.raises(ValueError, match=r'size=64 \(wanted: 32\), new=null \(wanted: 1\).*--out'):
        check_stamp(path, dict(size=32, parts=['a'], new=1))
    path.write_text('{"size": 6')
    with pytest.raises(ValueError, match='damaged JSON'):
        check_stamp(path, dict(size=64))


def test_an_output_folder_follows_no_link_out_of_it(tmp_path):
    out, outside, inside = (tmp_path / name for name in ('out', 'outside', 'out/input'))
    for folder in (out, outside, inside):
        folder.mkdir()
    (outside / 'file').write_text('mine')
    (out / 'away').symlink_to(outside)
    (out / 'file').symlink_to(outside / 'file')
    (out / 'new').symlink_to(outside / 'new')
    before = snapshot(outside)
    folder = OutputFolder(out, [inside])
    for name in ('away/file', 'away/new', 'file', 'new', 'input/file', '../outside/file'):
        with pytest.raises(ValueError, match=name):
            folder.write_text(name, 'theirs')
    for name in ('away/link', 'input/link', '../link'):
        with pytest.raises(ValueError, match=name):
            folder.link(out / name, inside)
    folder.link(out / 'file', outside)  # the link itself lies in the folder
    assert os.readlink(out / 'file') == str(outside)
    (outside / '.list.1.part').write_text('theirs')
    (inside / '.list.1.part').write_text('theirs')
    (out / '.list.1.part').write_text('ours')
    folder.remove_parts()
    assert (inside / '.list.1.part').exists() and not (out / '.list.1.part').exists()
    assert {**snapshot(outside), '.list.1.part': 0, '.': 0} == {**before, '.list.1.part': 0, '.': 0}
