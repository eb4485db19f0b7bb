"""Every decoder against the ffmpeg program: the upright frame, or a refusal that names the file."""

import gc
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.video_files import FILES, LARGE, make_video, shown_frames

from cnnlstm_mm.datasets import PathDecordInit
from cnnlstm_mm.datasets.decoders import DECODER_VARIABLE, KINDS, decoder_classes, installed
from cnnlstm_mm.datasets.video_reader import VideoReader

CHOICES = (None, *KINDS)
# What decord and OpenCV, which setup.cfg installs, do not read, and the decoders that do.
NEED_MORE = {
    'av1.mp4': ('pyav', 'torchcodec', 'decord2'),
    'av1.mkv': ('pyav', 'torchcodec', 'decord2'),
    'mirrored.mp4': ('pyav',),
}
FAST = (
    'h264.mp4',
    'h264.avi',
    'h264_open_gop.mp4',
    'vfr.mp4',
    'vp9.webm',
    'cut.mov',
    'rotated_90_wide.mp4',
    'rotated_90.mkv',
    'mirrored.mp4',
    'mpeg2_interlaced.mpg',
    'odd.avi',
    'no_rate.avi',
    'only_sound.mp4',
)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Path of a file, and the frames that ffmpeg shows."""
    folder, known = tmp_path_factory.mktemp('files'), {}

    def make(name):
        if name not in known:
            path = make_video(name, folder)
            known[name] = path, None if name == 'only_sound.mp4' else shown_frames(path)
        return known[name]

    return make


def need(choice: str | None) -> None:
    """Skip a test where a decoder is not installed."""
    if choice is not None and not installed(choice):
        package = dict(pyav='av', opencv='opencv-python').get(choice, choice)
        pytest.skip(f'needs {choice}: pip install {package}')


def check(path: Path, shown: np.ndarray | None, choice: str | None) -> bool:
    """Compare the middle frame and others with ffmpeg's; False if the file is refused."""
    try:
        reader = VideoReader(str(path), decoder=choice)
        count = len(reader)
        # The middle one alone, then others by the same reader.
        picked = [count // 2, *np.linspace(0, count - 1, 9).astype(int)]
        got = [*reader.get_batch(picked[:1]).asnumpy(), *reader.get_batch(picked[1:]).asnumpy()]
    except ValueError as error:
        assert 'no decoder reads it' in str(error)
        return False
    assert shown is not None and count == len(shown)
    assert 0 < reader.get_avg_fps() < 1000
    for frame, index in zip(got, picked):
        assert frame.shape == shown.shape[1:]
        near = range(max(index - 2, 0), min(index + 3, count))
        differences = [cv2.absdiff(shown[place], frame).mean() for place in near]
        assert differences[index - near[0]] < 8
        assert near[int(np.argmin(differences))] == index
    return True


@pytest.mark.parametrize('choice', CHOICES)
@pytest.mark.parametrize(
    'name', [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in FILES]
)
def test_the_upright_frame_or_a_refusal(files, name, choice):
    need(choice)
    read = check(*files(name), choice)
    assert read or name != 'h264.mp4'
    if choice in (None, 'pyav'):
        lacking = [one for one in NEED_MORE.get(name, ()) if installed(one)] == []
        assert read == (name != 'only_sound.mp4' and not (name in NEED_MORE and lacking))


@pytest.mark.slow
@pytest.mark.parametrize('choice', CHOICES)
@pytest.mark.parametrize('name', LARGE)
def test_large_frames(files, name, choice):
    need(choice)
    assert check(*files(name), choice)


NAMES = ('two words', 'Grüße 动作', 'it\'s "quoted"', '100% %03d', 'a\nline', '12:30', '#1?x=2&y')


@pytest.mark.parametrize('choice', CHOICES)
def test_names_links_and_folders_without_write_access(files, tmp_path, monkeypatch, choice):
    need(choice)
    path, shown = files('h264.mp4')
    folder = tmp_path / 'read only'
    folder.mkdir()
    for name in NAMES:
        shutil.copy(path, folder / f'{name}.mp4')
    (folder / 'link.mp4').symlink_to(path)
    os.chmod(folder, 0o555)
    monkeypatch.chdir(folder)
    try:
        for name in (*NAMES, 'link'):
            assert check(Path(f'{name}.mp4'), shown, choice), name
    finally:
        os.chmod(folder, 0o755)


def test_a_decoder_can_be_forced(files, monkeypatch):
    path, _ = files('h264.mp4')
    reader = PathDecordInit(decoder='opencv')(dict(filename=str(path)))['video_reader']
    assert [decoder.name for decoder in reader._decoders()] == ['opencv']
    monkeypatch.setenv(DECODER_VARIABLE, 'opencv')
    assert [kind.name for kind in decoder_classes('decord')] == ['opencv']
    monkeypatch.setenv(DECODER_VARIABLE, 'ffmpeg')
    with pytest.raises(ValueError, match="decord, decord2, pyav, torchcodec, opencv, got 'ffmpeg'"):
        PathDecordInit()
    monkeypatch.delenv(DECODER_VARIABLE)
    monkeypatch.setitem(sys.modules, 'av', None)
    with pytest.raises(ImportError, match='fix: pip install av'):
        PathDecordInit(decoder='pyav')


def test_the_reason_of_each_decoder_is_given(files):
    with pytest.raises(ValueError, match='no decoder reads it: decord: .*; OpenCV: '):
        VideoReader(str(files('only_sound.mp4')[0]))


@pytest.mark.parametrize('how', ['dropped', 'used', 'garbage'])
@pytest.mark.parametrize(
    ('module', 'name'),
    [('av', 'pyav'), ('decord', 'decord'), ('cv2', 'opencv'), ('torchcodec', 'torchcodec')],
)
def test_a_fork_uses_and_drops_a_decoder(files, module, name, how):
    """As workers of a loader and their garbage collector do; they waited for threads for ever."""
    pytest.importorskip(module, reason=f'{module} is optional')
    decoder = decoder_classes(name)[0](str(files('h264.mp4')[0]))
    assert len(decoder.get(np.arange(2))) == 2
    time.sleep(0.2)  # until its threads wait for more
    gc.disable()
    if how == 'garbage':  # that was there before the fork
        decoder = None
    child = os.fork()
    if not child:
        if how == 'used':
            decoder.get(np.arange(2))
        del decoder
        gc.collect()
        os._exit(0)
    gc.enable()
    for _ in range(200):
        if os.waitpid(child, os.WNOHANG)[0]:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError('expected the fork to end')
