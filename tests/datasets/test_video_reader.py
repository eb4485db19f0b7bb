"""Frames by index, against ffmpeg: the visible ones, in whatever order they are read."""

import logging
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from helpers.video_files import PIPELINE
from mmengine.config import Config
from torch.utils.data import DataLoader

from cnnlstm_mm.datasets import CheckedVideoDataset, PathDecordInit, decoder_guard
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.datasets.path_decord_init import apply_path_readers, read_by_path
from cnnlstm_mm.datasets.video_reader import VideoReader

# File: size, frames, ffmpeg's options, and where a copy without encoding begins.
CLIPS = {
    'last_second.mp4': ('96x72', 75, '-c:v libx264 -pix_fmt yuv420p -g 250', 2),
    'cut_b_frames.mov': ('96x72', 75, '-c:v libx264 -pix_fmt yuv420p -bf 3 -g 50', 1.3),
    'cut_open_gop.mp4': (
        '96x72',
        75,
        '-c:v libx265 -pix_fmt yuv420p -x265-params log-level=0:keyint=25:open-gop=1',
        1.3,
    ),
    'hevc.mp4': (
        '96x72',
        75,
        '-c:v libx265 -pix_fmt yuv420p -x265-params log-level=0:keyint=25:open-gop=1',
        0,
    ),
    'b_frames.avi': ('96x72', 75, '-c:v mpeg4 -bf 2 -g 25', 0),
    'b_frames.mpg': ('96x72', 75, '-c:v mpeg2video -bf 2 -g 15', 0),
    'interlaced.mpg': ('96x72', 75, '-c:v mpeg2video -bf 2 -g 15 -flags +ildct+ilme', 0),
    'broadcast.ts': ('96x72', 75, '-c:v libx264 -pix_fmt yuv420p -bf 3 -g 25', 0),
    'plain.mp4': ('96x72', 75, '-c:v libx264 -pix_fmt yuv420p -bf 2 -g 25', 0),
    'plain.webm': ('96x72', 75, '-c:v libvpx -g 25', 0),
    'narrow.mp4': ('48x72', 25, '-c:v libx264 -pix_fmt yuv420p', 0),
    'square.mp4': ('72x72', 25, '-c:v libx264 -pix_fmt yuv420p', 0),
}


def ffmpeg(*args):
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), '-y', '-nostdin', '-loglevel', 'error', *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Make a clip; its path, and its frames as ffmpeg shows them, in grey [T, H, W]."""
    folder, known = tmp_path_factory.mktemp('clips'), {}

    def make(name):
        if name not in known:
            size, frames, options, start = CLIPS[name]
            path = whole = folder / name
            if start:
                whole = folder / f'whole_{name}'
            source = f'testsrc2=size={size}:rate=25'
            ffmpeg('-f', 'lavfi', '-i', source, '-frames:v', frames, *options.split(), whole)
            if start:
                ffmpeg('-ss', start, '-i', whole, '-c', 'copy', path)
            raw = ffmpeg(
                '-i', path, '-fps_mode', 'passthrough', '-f', 'rawvideo', '-pix_fmt', 'gray', '-'
            )
            width, height = map(int, size.split('x'))
            known[name] = path, np.frombuffer(raw, np.uint8).reshape(-1, height, width)
        return known[name]

    return make


def frame_number(frame, visible):
    """Which of the visible frames this one is."""
    grey = frame @ np.array([0.299, 0.587, 0.114])
    return int(np.abs(visible - grey).mean((1, 2)).argmin())


def check(path, visible):
    rng = np.random.default_rng(0)
    assert len(VideoReader(str(path))) == len(visible)
    chosen = np.concatenate([rng.permutation(len(visible))[:12], [len(visible) - 1, 0]])
    for order in (np.arange(len(visible)), np.sort(chosen), np.sort(chosen)[::-1], chosen):
        frames = VideoReader(str(path)).get_batch(order).asnumpy()
        assert frames.dtype == np.uint8 and frames.shape[1:] == (*visible.shape[1:], 3)
        assert [frame_number(frame, visible) for frame in frames] == order.tolist()
    reader = VideoReader(str(path))
    for index in chosen[:4]:  # one reader, and decord's other way to read
        assert frame_number(reader.get_batch([index])[0], visible) == index
        reader.seek(index)
        assert frame_number(reader.next().asnumpy(), visible) == index


@pytest.mark.slow
@pytest.mark.parametrize('name', CLIPS)
def test_every_index_is_the_frame_that_a_player_shows(clips, name):
    check(*clips(name))


@pytest.mark.parametrize('name', ['plain.mp4', 'plain.webm', 'b_frames.avi', 'narrow.mp4'])
def test_the_same_frames_without_decord(clips, name, monkeypatch):
    monkeypatch.setitem(sys.modules, 'decord', None)
    check(*clips(name))


@pytest.mark.parametrize('first', [b'elst', b'moov'])
def test_frames_after_the_end_of_an_edit_list_do_not_count(clips, tmp_path, first):
    """Phones trim so. A 64-bit box may stand before the movie."""
    path, visible = clips('plain.mp4')
    data = bytearray(path.read_bytes())
    place = data.index(b'elst') + 12
    length = int.from_bytes(data[place : place + 4], 'big')
    data[place : place + 4] = (length // 2).to_bytes(4, 'big')
    if first == b'moov':
        place = data.index(b'moov') - 4
        free = (1).to_bytes(4, 'big') + b'free' + (24).to_bytes(8, 'big') + bytes(8)
        data[place:place] = free
    path = tmp_path / 'hidden_end.mp4'
    path.write_bytes(data)
    check(path, visible[:38])


@pytest.mark.parametrize('name', ['last_second.mp4', 'cut_b_frames.mov', 'cut_open_gop.mp4'])
def test_a_cut_clip_without_decord(clips, name, monkeypatch):
    """The header counts the frames that the edit list hides, 75."""
    monkeypatch.setitem(sys.modules, 'decord', None)
    check(*clips(name))


def test_a_clip_of_one_repeated_picture_is_refused(shared):
    """324 of the 330 frames of this clip can be decoded."""
    path = str(shared / 'data/ucf101_mini10/videos/Basketball/v_Basketball_g13_c02.avi')
    reader = PathDecordInit(decoder='opencv')(dict(filename=path))['video_reader']
    assert len(reader) == 330
    with pytest.raises(ValueError, match='326 to 328 lie beyond its last, 323'):
        reader.get_batch([326, 328])
    before, last, beyond = reader.get_batch([322, 323, 328])
    assert np.array_equal(last, beyond) and not np.array_equal(before, last)
    with pytest.raises(IndexError, match='330 frames, got 0 to 330'):
        reader.get_batch([0, 330])


def test_the_next_decoder_is_named_once(clips, tmp_path, monkeypatch, caplog):
    lines = tmp_path / 'log'
    monkeypatch.setattr(
        decoder_guard, 'print_log', lambda text, *args: lines.open('a').write(text + '\n')
    )
    monkeypatch.setattr(decoder_guard, '_notes', {})
    folder = clips('narrow.mp4')[0].parent
    clips('square.mp4')
    (tmp_path / 'list.txt').write_text('narrow.mp4 0\nsquare.mp4 1\n' * 4)
    data = CheckedVideoDataset(
        str(tmp_path / 'list.txt'), PIPELINE, data_prefix=dict(video=str(folder))
    )
    with caplog.at_level(logging.CRITICAL), name_dead_decoders():
        samples = list(DataLoader(data, num_workers=2, collate_fn=lambda batch: batch[0]))
    assert [s['inputs'].shape for s in samples] == [(1, 3, 4, 24, 24)] * 8
    assert all('broken' not in s['data_samples'] for s in samples)
    (line,) = lines.read_text().splitlines()
    second = ['PyAV', 'OpenCV'][find_spec('av') is None]
    assert 'decord cannot read it' in line and f'{second} does' in line


@pytest.mark.parametrize('kind', ['Decord', 'OpenCV', 'PyAV', 'PIMS'])
def test_local_pipelines_are_read_by_path(kind):
    pipeline = [dict(type=f'{kind}Init'), dict(type='SampleFrames'), dict(type=f'{kind}Decode')]
    got = [t['type'] for t in read_by_path(Config(dict(p=pipeline)).p)]
    assert got == ['PathDecordInit', 'SampleFrames', 'DecordDecode']
    cfg = Config(
        dict(
            a=dict(dataset=dict(type='VideoDataset', pipeline=pipeline)),
            b=dict(dataset=dict(type='CheckedVideoDataset', pipeline=pipeline)),
        )
    )
    apply_path_readers(cfg)
    assert [t.type for t in cfg.a.dataset.pipeline] == got
    assert [t.type for t in cfg.b.dataset.pipeline] == [t['type'] for t in pipeline]


def test_local_pipelines_with_scopes_in_their_types_are_read_by_path():
    pipeline = [dict(type='mmaction.PyAVInit'), dict(type='mmaction.PyAVDecode')]
    assert [t['type'] for t in read_by_path(pipeline)] == ['PathDecordInit', 'DecordDecode']
    cfg = Config(dict(dataset=dict(type='mmaction.CheckedVideoDataset', pipeline=pipeline)))
    apply_path_readers(cfg)
    assert cfg.dataset.pipeline == pipeline


def test_options_of_the_first_transform_are_kept():
    (init,) = read_by_path([dict(type='DecordInit', num_threads=3)])
    assert init == dict(type='PathDecordInit', num_threads=3)
    (init,) = read_by_path([dict(type='PathDecordInit', min_share=0.5)], 'opencv')
    assert init == dict(type='PathDecordInit', num_threads=1, min_share=0.5, decoder='opencv')
    for kept in ([dict(type='DecordInit', io_backend='petrel')], [dict(type='RawFrameDecode')]):
        assert read_by_path(kept) == kept
