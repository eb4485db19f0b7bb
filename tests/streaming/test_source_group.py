"""Several sources in one batch, folders of pictures, time stamps, and events of streams."""

import os
import subprocess

import cv2
import numpy as np
import pytest
from helpers.camera import picture

from cnnlstm_mm.streaming import (
    Event,
    EventDetector,
    EventLog,
    Frame,
    SourceError,
    SourceGroup,
    StreamBatch,
    VideoSource,
    event_log,
    source_group,
)
from cnnlstm_mm.streaming.captures import ImageFolder


def folder_of(path, numbers, size=(48, 64)):
    path.mkdir()
    for number in numbers:
        cv2.imwrite(str(path / f'{number}.png'), picture(number, size))
    return path


def numbers(frames):
    return [round(frame.image.mean() / 10) for frame in frames]


def test_a_folder_of_pictures_is_a_source(tmp_path):
    """In natural order, with the frame rate that is asked for, and beside other files."""
    folder = folder_of(tmp_path / 'a', [10, 9, 2, 1])
    (folder / 'notes.txt').write_text('x')
    with VideoSource(str(folder), fps=4) as source:
        assert not source.live and source.frames == 4 and source.fps == 4
        frames = list(source)
    assert numbers(frames) == [1, 2, 9, 10]
    assert [frame.time for frame in frames] == [0, 0.25, 0.5, 0.75]
    with VideoSource(str(folder), every=3) as source:
        assert numbers(source) == [1, 10] and source.fps == 25
    (folder / '9.png').write_bytes(b'x')
    with pytest.raises(SourceError, match=r'a/9.png, which cannot be decoded'):
        with VideoSource(str(folder)) as source:
            list(source)
    with pytest.raises(SourceError, match='folder of pictures, got .*which holds none'):
        ImageFolder(tmp_path)


@pytest.mark.parametrize('options', [dict(fps=0), dict(fps=float('nan')), dict(timeout=0)])
def test_wrong_options(options, tmp_path):
    with pytest.raises(ValueError, match=f'expected {next(iter(options))} to be above 0'):
        VideoSource(str(folder_of(tmp_path / 'a', [1])), **options)


def test_times_are_the_frames_own(tmp_path):
    """Of a variable frame rate: half a second between the first ten, then a gap of 2 s."""
    path = tmp_path / 'vfr.mp4'
    ffmpeg = pytest.importorskip('imageio_ffmpeg').get_ffmpeg_exe()
    made = '-f lavfi -i testsrc=s=96x72:r=10:d=3 -fps_mode vfr -pix_fmt yuv420p'.split()
    gap = ['-vf', "setpts='if(gte(N,10),PTS+2/TB,PTS)'"]
    command = [ffmpeg, '-v', 'error', *made, *gap, str(path)]
    subprocess.run(command, check=True)
    with VideoSource(str(path)) as source:
        times = [frame.time for frame in source]
    wanted = [k / 10 + 2 * (k >= 10) for k in range(30)]
    np.testing.assert_allclose(times, wanted, atol=1e-3)
    with VideoSource(str(path), every=15) as source:
        assert [round(frame.time, 3) for frame in source] == [0, 3.5]


def test_a_pipe_whose_writer_has_left(tmp_path):
    """All of it lies in the pipe already; nothing waits for another writer."""
    video, pipe = tmp_path / 'a.avi', tmp_path / 'pipe'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for k in range(12):
        writer.write(picture(k))
    writer.release()
    os.mkfifo(pipe)
    holder = os.open(pipe, os.O_RDWR)
    os.write(holder, video.read_bytes())
    source = None
    try:
        source = VideoSource(str(pipe))
    finally:
        os.close(holder)
    with source:
        assert numbers(source) == list(range(12))


def test_a_group_gives_all_frames_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(source_group, 'PAUSE', 2)  # seconds: both have a frame before the first
    paths = [folder_of(tmp_path / name, range(n)) for name, n in (('a', 5), ('b', 3))]
    with SourceGroup([VideoSource(str(path)) for path in paths]) as group:
        batches = [batch for batch in group if batch]
    assert numbers(batch[0] for batch in batches if 0 in batch) == [0, 1, 2, 3, 4]
    assert numbers(batch[1] for batch in batches if 1 in batch) == [0, 1, 2]
    assert len(batches[0]) == 2 and not group.failed


def test_a_group_goes_on_without_a_source_that_fails(tmp_path, caplog):
    good, bad = folder_of(tmp_path / 'a', range(4)), folder_of(tmp_path / 'b', range(4))
    (bad / '1.png').write_bytes(b'x')
    with SourceGroup([VideoSource(str(path)) for path in (bad, good)]) as group:
        found = [batch[1] for batch in group if 1 in batch]
    assert numbers(found) == [0, 1, 2, 3] and list(group.failed) == [0]
    assert '1.png' in caplog.text
    with pytest.raises(SourceError, match=r'1\.png'):
        with SourceGroup([VideoSource(str(bad))]) as group:
            list(group)


def test_a_group_is_stopped(camera):
    """And gives empty batches while nothing comes."""
    with SourceGroup([VideoSource(camera(3, 0.01).address)]) as group:
        for batch in group:
            if not batch:
                group.stop()
    assert group.stopped


class Counter:
    """A recognizer whose scores are the frames so far, and their mean brightness."""

    class State:
        xp = np

        def __init__(self, counts):
            self.counts = np.asarray(counts)

        @classmethod
        def cat(cls, states):
            return cls(np.concatenate([state.counts for state in states]))

        def select(self, index):
            return Counter.State(self.counts[index])

    sizes = ()

    def prepare(self, images):
        return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)

    def init_state(self, batch, size):
        return Counter.State([0] * batch)

    def step(self, x, state):
        self.sizes += (len(x),)
        state = Counter.State(state.counts + 1)
        return np.stack([state.counts, x.mean((1, 2, 3))], 1), state


def frame(number, session=0, size=(48, 64), time=0.0):
    return Frame(picture(number, size), number, time, 0.0, session)


def test_streams_come_and_go_in_one_batch():
    rec = Counter()
    streams = StreamBatch(rec)
    streams.step({0: frame(1)})
    assert {k: v.tolist() for k, v in streams.step({0: frame(2), 3: frame(5)}).items()} == {
        0: [2, 20],
        3: [1, 50],
    }
    # Another session, another size and a reset begin anew, each for itself.
    found = streams.step({0: frame(1, session=1), 3: frame(6), 4: frame(7)})
    assert [v[0] for v in found.values()] == [1, 2, 1]
    found = streams.step({0: frame(1, session=1), 3: frame(6, size=(24, 32)), 4: frame(7)})
    assert [found[k][0] for k in (0, 3, 4)] == [2, 1, 2]
    streams.reset(4)
    assert streams.step({4: frame(7)})[4][0] == 1
    assert rec.sizes == (1, 2, 3, 2, 1, 1)


def test_events_are_told_when_sure_and_when_ended(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(event_log.time, 'monotonic', lambda: now[0])
    both, ended = [], []
    log = EventLog(
        ['door', 'yard'],
        lambda: EventDetector(['walk', 'run'], high=0.6, low=0.3),
        [ended.append],
        [both.append],
    )
    for k, score in enumerate([0.1, 0.4, 0.9, 0.9]):
        log.update(0, [score, 0], frame(k, time=k / 2))
        log.update(1, [0, 0.2], frame(k, time=k / 2))
    assert [(m['state'], m['source'], m['start']) for m in both] == [('began', 'door', 0.5)]
    log.idle(0)
    assert not ended  # silent for too short
    now[0] += 3
    log.idle(0), log.idle(1)
    assert ended == both[1:] and ended[0]['end'] == 2.0 and ended[0]['label'] == 'walk'
    # Another session may begin at any time, and ends what went on.
    log.update(1, [0, 0.9], frame(9, session=0, time=5))
    log.update(1, [0.7, 0], frame(9, session=1, time=1))
    assert [(m['label'], m['session']) for m in ended[1:]] == [('run', 0)]
    log.finish(1)
    assert [(m['label'], m['session']) for m in ended[2:]] == [('walk', 1)]
    assert log.count == 3 and len(both) == 6
    assert Event(0, 1, 'a', 1)[::2] == (0, 'a')
