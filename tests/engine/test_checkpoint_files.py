"""Files that are whole or not there, and what is taken when one is broken."""

import errno
import io
import os
import resource
import zipfile

import pytest
import torch
from mmengine.runner import load_checkpoint

from cnnlstm_mm.engine import checkpoint_files as files


def write(path, value, hashed=True):
    """A checkpoint with one number in it."""
    buffer = io.BytesIO()
    torch.save(dict(state_dict=dict(weight=torch.full((100,), value))), buffer)
    data = buffer.getvalue()
    if hashed:
        files.VerifiedLocalBackend().put(data, str(path))
    else:
        path.write_bytes(data)
    return path


def flip(path, place=None):
    """Change one bit in a tensor."""
    data = bytearray(path.read_bytes())
    place = place or data.index(torch.ones(2).numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)


def check_named(folder, path):
    (folder / 'last_checkpoint').write_text(str(path))


@pytest.fixture
def warnings(monkeypatch):
    """What is logged."""
    lines = []
    monkeypatch.setattr(files, 'print_log', lambda text, logger, level=0: lines.append(text))
    return lines


def test_torch_alone_loads_a_flipped_bit(tmp_path):
    """Why there is a hash."""
    path = write(tmp_path / 'a.pth', 1.0, hashed=False)
    flip(path)
    weight = torch.load(path, weights_only=True)['state_dict']['weight']
    assert not torch.equal(weight, torch.ones(100))


def test_hashed_file_is_an_ordinary_checkpoint(tmp_path):
    path = write(tmp_path / 'a.pth', 1.0)
    assert files.has_hash(str(path)) and files.find_damage(str(path)) is None
    for mmap in (False, True):
        loaded = torch.load(path, weights_only=True, mmap=mmap)
        assert torch.equal(loaded['state_dict']['weight'], torch.ones(100))
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(100))
    load_checkpoint(model, str(path))
    assert model.weight.eq(1).all()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b'sha256:')


def test_every_flipped_bit_and_every_cut_is_found(tmp_path):
    path = write(tmp_path / 'a.pth', 1.0)
    whole = path.read_bytes()
    end = len(whole)
    for place in (*range(0, end, 37), *range(end - 120, end)):
        path.write_bytes(whole)
        flip(path, place)
        assert files.find_damage(str(path)), place
    for length in (0, 1, 70, end // 2, *range(end - 120, end)):
        path.write_bytes(whole[:length])
        assert files.find_damage(str(path)), length


def test_old_files_are_checked_by_their_checksums(tmp_path):
    path = write(tmp_path / 'a.pth', 1.0, hashed=False)
    assert files.find_damage(str(path)) is None
    flip(path)
    assert 'checksum' in files.find_damage(str(path))
    path.write_bytes(path.read_bytes()[:900])
    assert 'cut short' in files.find_damage(str(path))


@pytest.mark.slow
def test_no_flipped_bit_ends_the_check_of_an_old_file(tmp_path):
    """zipfile raises UnicodeDecodeError, NotImplementedError and others for some."""
    path = write(tmp_path / 'a.pth', 1.0, hashed=False)
    whole = path.read_bytes()
    found = []
    for place in range(len(whole)):
        for bit in (1, 64, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            found.append(files.find_damage(str(path)))
    assert any('Unicode' in damage for damage in found if damage)
    assert any('NotImplemented' in damage for damage in found if damage)


@pytest.mark.parametrize('how', ['cut', 'flipped', 'empty'])
def test_the_one_before_a_broken_one_is_taken(tmp_path, how, warnings):
    good = write(tmp_path / 'epoch_9.pth', 1.0)
    bad = write(tmp_path / 'epoch_10.pth', 1.0)
    check_named(tmp_path, bad)
    assert files.newest_valid(str(tmp_path), 'epoch_{}.pth') == str(bad)
    assert not warnings
    if how == 'flipped':
        flip(bad)
    else:
        bad.write_bytes(bad.read_bytes()[:500] if how == 'cut' else b'')
    assert files.newest_valid(str(tmp_path), 'epoch_{}.pth') == str(good)
    (warning,) = warnings
    assert str(bad) in warning and str(good) in warning


def test_which_is_the_newest(tmp_path, warnings):
    folder, template = str(tmp_path), 'epoch_{}.pth'
    assert files.newest_valid(folder, template) is None
    assert files.newest_valid(str(tmp_path / 'none'), template) is None
    one = write(tmp_path / 'epoch_1.pth', 1.0)
    assert files.newest_valid(folder, template) == str(one), 'not yet named'
    check_named(tmp_path, 'elsewhere/epoch_1.pth')
    assert files.newest_valid(folder, template) == str(one), 'moved'
    two = write(tmp_path / 'epoch_2.pth', 1.0)
    assert files.newest_valid(folder, template) == str(two), 'killed between'
    # An earlier, longer run in the same folder.
    os.utime(write(tmp_path / 'epoch_50.pth', 1.0), (1, 1))
    check_named(tmp_path, two)
    assert files.newest_valid(folder, template) == str(two)
    # The name of another hook, and a best one that is no step of the run.
    write(tmp_path / 'best_acc_epoch_77.pth', 1.0)
    half = write(tmp_path / 'iter_70.pth', 1.0)
    check_named(tmp_path, half)
    assert files.newest_valid(folder, template) == str(half)
    assert not warnings
    old = write(tmp_path / 'iter_80.pth', 1.0, hashed=False)
    assert files.newest_valid(folder, template) == str(old)
    assert 'no hash' in warnings[0]


def test_nothing_whole_is_an_error_that_names_all(tmp_path):
    for step in (1, 2):
        (tmp_path / f'epoch_{step}.pth').write_bytes(b'PK')
    with pytest.raises(RuntimeError, match='epoch_2(.|\n)*epoch_1(.|\n)*start over'):
        files.newest_valid(str(tmp_path), 'epoch_{}.pth')


def test_a_file_that_reads_otherwise_is_not_taken(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.pth', 1.0)
    before = path.read_bytes()
    monkeypatch.setattr(
        files.os,
        'fsync',
        lambda handle: (
            os.pwrite(handle, b'?', 9)
            if os.readlink(f'/proc/self/fd/{handle}').endswith('.part')
            else None
        ),
    )
    monkeypatch.setattr(
        'builtins.open',
        lambda *args, real=open: (
            real(args[0], args[1].replace('wb', 'w+b')) if len(args) > 1 else real(*args)
        ),
    )
    with pytest.raises(OSError, match='read back'):
        write(path, 2.0)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['a.pth']


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_last_one(tmp_path, monkeypatch, number):
    path = write(tmp_path / 'epoch_1.pth', 1.0)

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, 'fsync', full)
    for name in ('epoch_1.pth', 'epoch_2.pth'):
        with pytest.raises(OSError) as caught:
            write(tmp_path / name, 2.0)
        assert caught.value.errno == number
        for words in (name, os.strerror(number), 'MiB free', '--resume', 'max_keep_ckpts'):
            assert words in str(caught.value)
    assert os.listdir(tmp_path) == ['epoch_1.pth']
    assert files.find_damage(str(path)) is None


def test_a_limit_on_the_size_of_files_is_an_error(tmp_path):
    """A real write that fails in the middle."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
        try:
            write(tmp_path / 'epoch_1.pth', 1.0)
        except OSError as error:
            os._exit(error.errno)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EFBIG
    assert not os.listdir(tmp_path)
