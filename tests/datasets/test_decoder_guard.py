"""Decoders that hang or die: the video is named and the rest goes on."""

import os
import signal
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from cnnlstm_mm.datasets import CheckedVideoDataset
from cnnlstm_mm.datasets.decoder_guard import FOLDER_VARIABLE, name_dead_decoders, run_with_timeout
from cnnlstm_mm.datasets.replacing import BrokenSampleError
from mmaction.registry import TRANSFORMS

pytestmark = pytest.mark.slow


@TRANSFORMS.register_module()
class BadDecoder:
    """Hangs on 'hang.avi', ends its process on 'crash.avi'."""

    def __call__(self, results):
        if results['filename'].endswith('hang.avi'):
            time.sleep(3)
        if results['filename'].endswith('crash.avi'):
            time.sleep(0.5)  # the other worker is between two videos
            os.kill(os.getpid(), signal.SIGSEGV)
        return dict(results, imgs=[1])


def dataset(tmp_path, *names, **kwargs):
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / 'list.txt').write_text(''.join(f'{name} 0\n' for name in names))
    return CheckedVideoDataset(
        str(tmp_path / 'list.txt'),
        [dict(type='BadDecoder')],
        data_prefix=dict(video=str(tmp_path)),
        **kwargs,
    )


def test_a_hanging_decoder_is_a_broken_video(tmp_path):
    data = dataset(tmp_path, 'good.avi', 'hang.avi', decode_timeout=0.2)
    assert data.read(0)['imgs'] == [1]
    start = time.perf_counter()
    with pytest.raises(BrokenSampleError, match='hang.avi: DecodeTimeout.*decode_timeout=0.2'):
        data.read(1)
    assert time.perf_counter() - start < 2
    # And so it is replaced in training.
    assert data.prepare_data(0)['filename'].endswith('good.avi')
    unlimited = dataset(tmp_path, 'good.avi', decode_timeout=None)
    assert unlimited.read(0)['imgs'] == [1]


@pytest.mark.parametrize('limit', [-1, 'soon', float('nan')])
def test_wrong_limits_are_named(tmp_path, limit):
    with pytest.raises(ValueError, match='decode_timeout'):
        dataset(tmp_path, 'good.avi', decode_timeout=limit)


def test_errors_in_the_thread_are_raised():
    with pytest.raises(ZeroDivisionError):
        run_with_timeout(5, lambda: 1 / 0)
    assert run_with_timeout(5, lambda a, b: a + b, 1, 2) == 3


def test_a_video_that_ends_the_process_is_named(tmp_path):
    data = dataset(tmp_path, 'good.avi', 'crash.avi', 'also_good.avi')
    loader = DataLoader(data, batch_size=1, num_workers=2, collate_fn=lambda batch: 0)
    with pytest.raises(RuntimeError, match='worker') as bare:
        list(loader)
    assert 'crash.avi' not in str(bare.value)
    with pytest.raises(RuntimeError) as named:
        with name_dead_decoders():
            list(loader)
    message = str(named.value)
    assert 'crash.avi' in message and '--resume' in message
    assert 'good.avi' not in message
    with pytest.raises(RuntimeError, match='another'):
        with name_dead_decoders():
            raise RuntimeError('another')


@pytest.mark.parametrize('error', [ConnectionResetError(104, 'reset'), EOFError()])
def test_a_worker_that_ends_while_its_tensors_are_fetched(error):
    with pytest.raises(RuntimeError, match=r'data loader on\n  gone\.mp4\n'):
        with name_dead_decoders():
            folder = Path(os.environ[FOLDER_VARIABLE])
            (folder / '999999999').write_text('gone.mp4')  # no process has this number
            raise error
