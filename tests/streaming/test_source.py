"""VideoSource on files and on live streams that come from this process."""

import time

import cv2
import pytest
from helpers.camera import picture

from cnnlstm_mm.streaming import SourceError, VideoSource
from cnnlstm_mm.streaming.source import is_live


@pytest.fixture
def video(tmp_path):
    """A file of 12 frames, 10 a second."""
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for k in range(12):
        writer.write(picture(k))
    writer.release()
    return str(path)


def number(frame):
    return round(frame.image.mean() / 10)


@pytest.mark.parametrize('every', [1, 3])
def test_a_file_gives_all_its_frames(video, every):
    with VideoSource(video, every) as source:
        assert not source.live and source.frames == 12 and source.fps == 10
        got = []
        for frame in source:
            time.sleep(0.005)  # slower than decoding: nothing is dropped
            got.append((number(frame), frame.index, round(frame.time, 3)))
    assert got == [(k, k, k / 10) for k in range(0, 12, every)]
    assert source.dropped == 0 and source.reconnects == 0


def test_a_live_source_drops_frames_and_is_opened_again(camera):
    server = camera(frames=40)
    seen = []
    with VideoSource(server.address, retries=3) as source:
        assert source.live
        for frame in source:
            seen.append(frame)
            # A frame may come between its reading and this line.
            lost = frame.index + 1 - len(seen) - source.dropped
            assert -1 <= lost <= 0
            time.sleep(0.1)  # five times as slow as the camera
            if frame.session == 2:
                break
    assert server.connections >= 3 and source.reconnects >= 2
    assert [frame.session for frame in seen] == sorted(frame.session for frame in seen)
    indices = [frame.index for frame in seen]
    assert indices == sorted(indices)
    assert source.dropped > 20


def test_a_live_source_that_stays_away(camera):
    server = camera(frames=10)
    with pytest.raises(SourceError, match='lost.*2 tries'):
        with VideoSource(server.address, retries=2) as source:
            for k, frame in enumerate(source):
                if k == 2:
                    server.shutdown()
                    server.server_close()
    assert source.reconnects == 0


@pytest.mark.parametrize(
    'source, words',
    [
        ('absent.mp4', 'absent.mp4 is not there.*RTSP|rtsp'),
        (97, 'cannot open 97.*/dev/video'),
        ('http://127.0.0.1:9/video', 'cannot open http'),
    ],
)
def test_what_cannot_be_opened(source, words):
    with pytest.raises(SourceError, match=words):
        VideoSource(source)


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / 'note.mp4'
    path.write_text('not a video')
    with pytest.raises(SourceError, match='note.mp4'):
        with VideoSource(str(path)) as source:
            list(source)


def test_every_must_be_positive(video):
    with pytest.raises(ValueError, match='every'):
        VideoSource(video, every=0)


@pytest.mark.parametrize(
    'address, live',
    [
        (0, True),
        ('rtsp://host/a.mp4', True),
        ('http://host/video', True),
        ('http://host/a.MP4?token=1', False),
        ('video.avi', False),
        ('file:///video.avi', False),
    ],
)
def test_which_sources_are_live(address, live):
    assert is_live(address) == live
