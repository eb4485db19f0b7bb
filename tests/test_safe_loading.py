"""Checkpoints: which are loaded, which are refused, and which errors are passed on."""

import errno
import os
import pickle
import types
import urllib.error

import numpy as np
import pytest
import torch
from helpers.support import run_python
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint

from cnnlstm_mm import safe_loading


def save_runner_like_checkpoint(path):
    history = HistoryBuffer([0.5, np.float64(0.25)], [1, 1])
    torch.save(
        dict(
            meta=dict(epoch=1, seed=0),
            state_dict=dict(w=torch.ones(2)),
            message_hub=dict(
                log_scalars=dict(loss=history),
                runtime_info=dict(best=np.float32(0.5), n=np.int64(3)),
                resumed_keys={},
            ),
        ),
        path,
    )


@pytest.mark.slow
def test_runner_checkpoint_loads_only_with_the_allow_list(tmp_path):
    path = tmp_path / 'runner.pth'
    save_runner_like_checkpoint(path)
    broken = run_python(
        '-c', f'import mmengine, torch; torch.load({str(path)!r}, weights_only=True)'
    )
    assert 'HistoryBuffer' in broken.stderr
    loaded = CheckpointLoader.load_checkpoint(str(path))
    history = loaded['message_hub']['log_scalars']['loss']
    assert history.mean() == pytest.approx(0.375)
    assert loaded['message_hub']['runtime_info']['n'] == 3


class WritesAFile:
    """A pickle that runs a shell command where it is loaded unchecked."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


def test_checkpoint_with_foreign_code_is_refused_and_nothing_ran(tmp_path):
    evidence = tmp_path / 'ran'
    path = tmp_path / 'foreign.pth'
    torch.save(dict(state_dict=dict(w=WritesAFile(evidence))), path)
    pickle.loads(pickle.dumps(WritesAFile(evidence)))
    assert evidence.exists(), 'the attack must work where nothing checks'
    evidence.unlink()

    with pytest.raises(RuntimeError) as caught:
        load_checkpoint(torch.nn.Linear(1, 1), str(path))
    message = str(caught.value)
    assert str(path) in message and 'system' in message
    assert 'nothing in it was run' in message
    assert 'weights_only=False' not in message
    assert not evidence.exists()


@pytest.mark.parametrize(
    'owner, name', [(HistoryBuffer, '__init__'), (os, 'system'), (torch, 'load')]
)
def test_getattr_in_a_checkpoint_reaches_log_statistics_only(owner, name):
    assert safe_loading.history_statistic(HistoryBuffer, 'min') is HistoryBuffer.min
    with pytest.raises(pickle.UnpicklingError):
        safe_loading.history_statistic(owner, name)


@pytest.mark.slow
def test_getattr_that_the_user_allowed_works():
    """Two entries of the allow-list have its name then, in no order."""
    done = run_python(
        '-c',
        """if 1:
        import io, torch, cnnlstm_mm
        from mmengine.logging import HistoryBuffer
        class Method:
            def __reduce__(self):
                return getattr, (torch.nn.Module, 'train')
        file = io.BytesIO()
        torch.save(Method(), file)
        def load():
            file.seek(0)
            with torch.serialization.safe_globals([torch.nn.Module]):
                return torch.load(file, weights_only=True)
        try:
            load()
        except Exception as error:
            assert 'getattr' in str(error), error
        else:
            raise AssertionError('it was loaded')
        torch.serialization.add_safe_globals([getattr])
        assert load() is torch.nn.Module.train
        """,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_refused_getattr_is_explained_too(tmp_path):
    """Not as damage, with torch's advice to switch the checks off."""

    class Method:
        def __reduce__(self):
            return getattr, (torch.nn.Parameter, 'detach')

    path = tmp_path / 'getattr.pth'
    torch.save(dict(state_dict=Method()), path)
    with pytest.raises(RuntimeError, match='nothing in it was run') as caught:
        CheckpointLoader.load_checkpoint(str(path))
    assert 'weights_only=False' not in str(caught.value)


def test_damaged_checkpoint_is_named(tmp_path):
    path = tmp_path / 'damaged.pth'
    save_runner_like_checkpoint(path)
    whole = path.read_bytes()
    for content in (b'', b'hello', whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(RuntimeError, match='damaged.pth is damaged'):
            load_checkpoint(torch.nn.Linear(1, 1), str(path))


def test_a_refusal_is_an_unpickling_error_as_before(tmp_path):
    """For users of mmengine who catch what torch raises."""
    path = tmp_path / 'foreign.pth'
    path.write_bytes(pickle.dumps(dict(state_dict=WritesAFile(tmp_path / 'ran'))))
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(str(path))


PASSED_ON = [
    MemoryError('no memory'),
    torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB'),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you "
        'tried to allocate 4 bytes. Error code 12 (Cannot allocate memory)'
    ),
    ModuleNotFoundError("No module named 'petrel_client'"),
    OSError(errno.EIO, os.strerror(errno.EIO)),
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
]


@pytest.mark.parametrize('error', PASSED_ON, ids=lambda error: type(error).__name__)
def test_errors_that_the_file_does_not_cause_are_passed_on(tmp_path, monkeypatch, error):
    path = tmp_path / 'sound.pth'
    save_runner_like_checkpoint(path)

    def load(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch, 'load', load)
    with pytest.raises(type(error)) as caught:
        CheckpointLoader.load_checkpoint(str(path))
    assert caught.value is error


def test_a_download_that_fails_names_the_address_and_the_ways_out(tmp_path, monkeypatch):
    """``mmcls://`` goes through PyTorch's own download, whose opening of the address fails."""

    def urlopen(request):
        raise urllib.error.URLError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'urlopen', urlopen)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(ConnectionError) as caught:
        CheckpointLoader.load_checkpoint('mmcls://mobilenet_v2')
    text = str(caught.value)
    for part in ('mmcls://mobilenet_v2', 'not known', 'fix: ', '--weights', str(tmp_path)):
        assert part in text
    assert caught.value.__suppress_context__


def test_a_missing_device_is_passed_on(tmp_path):
    if torch.cuda.is_available():
        pytest.skip('this machine has CUDA')
    path = tmp_path / 'sound.pth'
    save_runner_like_checkpoint(path)
    with pytest.raises(RuntimeError, match='CUDA') as caught:
        CheckpointLoader.load_checkpoint(str(path), map_location='cuda')
    assert 'damaged' not in str(caught.value)


def with_flipped_bits(whole):
    for place in range(0, len(whole), 7):
        yield whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]


def cut_short(whole):
    for length in range(len(whole)):
        yield whole[:length]


@pytest.mark.slow
@pytest.mark.parametrize('damaged', [with_flipped_bits, cut_short])
@pytest.mark.parametrize('of_zip', [True, False])
def test_damage_is_named_whatever_it_breaks(tmp_path, damaged, of_zip):
    """torch raises KeyError, TypeError, RuntimeError, OSError and others for it."""
    path = tmp_path / 'flipped.pth'
    state = dict(weight=torch.arange(100.0), bias=torch.zeros(3))
    torch.save(state, path, _use_new_zipfile_serialization=of_zip)
    whole = path.read_bytes()
    kinds = set()
    for data in damaged(whole):
        path.write_bytes(data)
        try:
            torch.load(path, weights_only=True)
        except Exception as error:
            kinds.add(type(error))
            with pytest.raises(RuntimeError, match='flipped.pth (is damaged|was refused)'):
                CheckpointLoader.load_checkpoint(str(path))
    assert len(kinds) > 2 and kinds & {RuntimeError, pickle.UnpicklingError}


def test_other_users_of_mmengine_may_load_nan(tmp_path):
    path = tmp_path / 'nan.pth'
    torch.save(dict(weight=torch.full((1, 1), float('nan')), bias=torch.zeros(1)), path)
    model = torch.nn.Linear(1, 1)
    load_checkpoint(model, str(path))
    assert model.weight.isnan().all()


def test_numpy_1_has_its_functions_in_core(monkeypatch):
    """numpy 1.26 has an empty _core beside it."""

    class Numpy1(types.ModuleType):
        __version__ = '1.26.4'
        _core = types.ModuleType('numpy._core')
        core = types.SimpleNamespace(multiarray=types.SimpleNamespace(_reconstruct=len, scalar=abs))

        def __getattr__(self, name):
            return getattr(np, name)

    monkeypatch.setattr(safe_loading, 'np', Numpy1('numpy'))
    pairs = [item for item in safe_loading.runner_checkpoint_globals() if isinstance(item, tuple)]
    assert (len, 'numpy.core.multiarray._reconstruct') in pairs
    assert (abs, 'numpy._core.multiarray.scalar') in pairs
