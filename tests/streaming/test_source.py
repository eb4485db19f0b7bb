"""VideoSource on files and on live streams that come from this process."""

import functools
import http.server
import os
import threading
import time

import cv2
import numpy as np
import pytest
from helpers.camera import picture

from cnnlstm_mm.streaming import SourceError, VideoSource, source
from cnnlstm_mm.streaming.captures import is_live, mask_password
from cnnlstm_mm.streaming.source import SourceState


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


@pytest.mark.parametrize(
    'stamps, times',
    [
        ([-0.4, -0.3, 0.05, 0.25, 0.1], [0, 0.1, 0.2, 0.25, 0.35]),
        ([float('nan'), 0.0, 0.05, 0.0, 0.5], [0, 0.1, 0.2, 0.3, 0.5]),
    ],
)
def test_times_begin_at_0_and_rise(video, monkeypatch, stamps, times):
    """A file that lost its beginning has frames before 0."""

    real = cv2.VideoCapture

    class Broken:
        def __init__(self, *args):
            self.capture, self.at = real(*args), -1

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def grab(self):
            self.at += 1
            return self.capture.grab()

        def get(self, key):
            if key != cv2.CAP_PROP_POS_MSEC:
                return self.capture.get(key)
            return 1e3 * stamps[self.at] if self.at < len(stamps) else 0.0

    monkeypatch.setattr(cv2, 'VideoCapture', Broken)
    with VideoSource(video) as source:
        got = [frame.time for frame in source]
    assert got[: len(times)] == pytest.approx(times)
    assert got == sorted(set(got))


@pytest.mark.slow
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
        ('absent.mp4', 'absent.mp4, which does not exist.*rtsp'),
        (97, 'cannot open 97.*/dev/video'),
        ('/dev/v4l/by-id/usb-cam-index0', 'cannot open /dev/v4l.*ls /dev/video'),
        ('rtsp://me:secret@127.0.0.1:9/s', r'cannot open rtsp://me:\*\*\*@127.0.0.1:9/s;'),
        ('http://127.0.0.1:9/video', 'cannot open http'),
    ],
)
def test_what_cannot_be_opened(source, words, capfd):
    with pytest.raises(SourceError, match=words):
        VideoSource(source)
    assert 'secret' not in ''.join(capfd.readouterr())  # nor from the libraries below


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
        ('/dev/video0', True),
        ('/dev/v4l/by-id/usb-cam-video-index0', True),
        ('/dev/null', True),  # as any character device
        ('rtsp://host/a.mp4', True),
        ('http://host/video', True),
        ('http://host/a.MP4?token=1', False),
        ('video.avi', False),
        ('file:///video.avi', False),
    ],
)
def test_which_sources_are_live(address, live):
    assert is_live(address) == live


@pytest.mark.parametrize(
    'address, shown',
    [
        ('rtsp://operator:secret@10.0.0.1:554/s', 'rtsp://operator:***@10.0.0.1:554/s'),
        ('http://:secret@cam/v', 'http://:***@cam/v'),
        ('rtsp://me@mail.org:secret@cam/s', 'rtsp://me@mail.org:***@cam/s'),
        ('rtsp://me:se@cret@cam/s', 'rtsp://me:***@cam/s'),
        ('rtsp://me:se/cret@cam/s', 'rtsp://me:***@cam/s'),
        ('http://cam/v.cgi?user=me&pwd=secret&n=1', 'http://cam/v.cgi?user=me&pwd=***&n=1'),
        ('rtsp://cam/user=me&Password=secret', 'rtsp://cam/user=me&Password=***'),
        ('http://cam:8080/v.mjpg', 'http://cam:8080/v.mjpg'),
        ('rtsp://me@cam:554/s', 'rtsp://me@cam:554/s'),
        ('C:/videos/a@b.mp4', 'C:/videos/a@b.mp4'),
    ],
)
def test_passwords_are_masked(address, shown):
    assert mask_password(address) == shown
    assert mask_password(f'cannot open {address} now') == f'cannot open {shown} now'


class Capture:
    """In the place of cv2.VideoCapture: each session gives so many frames, None does not open."""

    sessions, opened, grab_time = [], [], 0.0

    def __init__(self, *arguments):
        self.opened.append(arguments)
        self.left = self.sessions.pop(0) if self.sessions else None

    def isOpened(self):
        return self.left is not None

    def grab(self):
        time.sleep(self.grab_time)
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, picture(1)

    def get(self, _):
        return -1.0

    def release(self):
        pass


@pytest.fixture
def sessions(monkeypatch):
    """Script the sessions of a live source."""

    def script(*counts, grab_time=0.0):
        monkeypatch.setattr(source, 'PAUSE', 0.001)
        monkeypatch.setattr(cv2, 'VideoCapture', Capture)
        for name, value in dict(sessions=[*counts], opened=[], grab_time=grab_time).items():
            monkeypatch.setattr(Capture, name, value)
        return Capture

    return script


@pytest.mark.parametrize(
    'counts, opened, reconnects',
    [
        ([0, 0, 0, 5], 3, 0),  # never a frame
        ([2, 0, 0, 5], 3, 0),  # none any more
        ([2, None, 0, 5], 3, 0),
        ([2, 0, 2, 0, None, 5], 5, 1),  # a frame begins the count of tries anew
    ],
)
def test_a_session_without_a_frame_is_a_failed_try(counts, opened, reconnects, sessions, caplog):
    script = sessions(*counts)
    live = VideoSource('rtsp://me:secret@host/s', retries=2)
    with pytest.raises(SourceError, match='within 2 tries') as caught:
        with live:
            list(live)
    assert len(script.opened) == opened and live.reconnects == reconnects
    assert 'try 2 of 2' in caplog.text
    assert 'secret' not in caplog.text + str(caught.value) + live.name


def test_states_of_a_live_source(sessions, monkeypatch):
    """Silent until the first frame and after a while without one."""
    monkeypatch.setattr(source, 'SILENCE', 0.05)
    monkeypatch.setattr(source, 'LONGEST_PAUSE', 0.3)
    sessions(2, None, grab_time=0.2)
    monkeypatch.setattr(source, 'PAUSE', 0.3)
    live = VideoSource('rtsp://host/s', retries=1)
    seen = [live.state]

    def watch():
        while live.state is not SourceState.ENDED:
            if live.state is not seen[-1]:
                seen.append(live.state)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(SourceError, match='lost after 2 frames'):
        with live:
            list(live)
    watcher.join()
    names = [state.value for state in seen if state is not SourceState.CONNECTING]
    assert names == ['silent', 'streaming', 'silent', 'streaming', 'silent', 'lost']


def test_a_file_ends(video):
    file = VideoSource(video)
    assert file.state is SourceState.SILENT
    with file:
        for _ in file:
            pass
        assert file.state is SourceState.ENDED


def test_stop_ends_the_iteration(camera):
    with VideoSource(camera(frames=1000).address) as live:
        threading.Timer(0.5, live.stop).start()
        assert len(list(live)) > 1 and live.stopped


@pytest.fixture
def served(tmp_path):
    """Serve a folder, as python -m http.server does."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_the_end_of_a_file_at_an_address_is_an_end(video, served):
    """Also under a name without suffix."""
    os.rename(video, os.path.join(os.path.dirname(video), 'clip'))
    with VideoSource(f'{served}/clip') as file:
        assert not file.live and file.frames == 12
        assert len(list(file)) == 12


@pytest.mark.parametrize('live, words', [(None, 'no frame that can be'), (True, 'within 2 tries')])
def test_an_address_that_opens_and_sends_no_frame(live, words, tmp_path, served, monkeypatch):
    """An mp4 with its index at its end, from a server that cannot seek."""
    monkeypatch.setattr(source, 'PAUSE', 0.01)
    random = np.random.default_rng(0)
    writer = cv2.VideoWriter(
        str(tmp_path / 'a.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 25, (320, 240)
    )
    for _ in range(40):
        writer.write(random.integers(0, 256, (240, 320, 3), np.uint8))
    writer.release()
    os.rename(tmp_path / 'a.mp4', tmp_path / 'clip')
    with pytest.raises(SourceError, match=words):
        with VideoSource(f'{served}/clip', live=live, retries=2) as silent:
            list(silent)


@pytest.mark.parametrize('path', ['/dev/video0', '/dev/v4l/by-id/usb-cam-video-index0'])
def test_devices_are_webcams(path, sessions):
    script = sessions(3, 3, grab_time=0.05)
    with VideoSource(path, retries=0) as live:
        assert live.live and next(iter(live)).image.shape == (48, 64, 3)
    assert script.opened[0] == (path, cv2.CAP_V4L2)


def test_a_pipe_is_a_file_that_ends(video, tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with open(video, 'rb') as file:
        data = file.read()
    writer = threading.Thread(target=pipe.write_bytes, args=[data])
    writer.start()
    with VideoSource(str(pipe)) as file:
        assert not file.live and [number(frame) for frame in file] == list(range(12))
    writer.join()
