"""tools/stream_demo.py on a file and on a camera of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.camera import picture
from helpers.stream_models import build
from helpers.support import ROOT, run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.commands import stream
from cnnlstm_mm.streaming import StreamingRecognizer, find_events

pytestmark = pytest.mark.usefixtures('forks')
CONFIG = 'configs/mobilenet_convlstm_stream_quickstart.py'


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    init_default_scope('mmaction')
    torch.manual_seed(0)
    model = build(Config.fromfile(ROOT / CONFIG))
    path = tmp_path_factory.mktemp('model') / 'model.pth'
    torch.save(model.state_dict(), path)
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def read(path):
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame)


def test_a_file(quickstart_data, checkpoint, tmp_path):
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    done = run_tool(
        'tools/stream_demo.py',
        video,
        CONFIG,
        checkpoint,
        '--out',
        tmp_path / 'out.mp4',
        '--json',
        tmp_path / 'new/out.jsonl',
        '--every',
        2,
        '--topk',
        3,
        '--threads',
        1,
        '--cfg-options',
        f'data_root={quickstart_data}',
    )
    assert done.returncode == 0, done.stderr
    assert '8 frames, one of 2, ' in done.stdout and '0 dropped' in done.stdout
    assert 'ms median' in done.stdout and 'ms p95' in done.stdout

    rec = StreamingRecognizer(ROOT / CONFIG, str(checkpoint))
    labels = (quickstart_data / 'label_map.txt').read_text().split()
    state = None
    images, _ = read(video)
    written = lines(tmp_path / 'new/out.jsonl')
    assert [found['frame'] for found in written] == list(range(0, 16, 2))
    for found in written:
        image = cv2.cvtColor(images[found['frame']], cv2.COLOR_BGR2RGB)
        scores, state = rec.step(image[None], state)
        scores = scores[0].numpy()
        np.testing.assert_allclose(found['scores'], scores, atol=1e-5)
        best = np.argsort(-scores)[:3]
        assert [top['label'] for top in found['top']] == [labels[k] for k in best]
        assert found['time'] == pytest.approx(found['frame'] / 8)
        assert found['timestamp'].endswith('+00:00')
    best = written[-1]['top'][0]
    assert f', at the end {best["label"]} {best["score"]:.2f}' in done.stdout
    frames, fps = read(tmp_path / 'out.mp4')
    assert len(frames) == 8 and fps == 4
    assert frames[0].shape[1] == 480


@pytest.mark.parametrize('multi_class', [False, True])
def test_raw_scores_become_probabilities(multi_class, quickstart_data, checkpoint, tmp_path):
    """Of several labels each has its own."""
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    options = [f'model.cls_head.multi_class={multi_class}', 'model.cls_head.average_clips=score']
    args = ('tools/stream_demo.py', video, CONFIG, checkpoint, '--json', tmp_path / 'out.jsonl')
    done = run_tool(*args, '--cfg-options', *options)
    assert done.returncode == 0, done.stderr
    cfg = Config.fromfile(ROOT / CONFIG)
    cfg.model.cls_head.average_clips = 'score'
    rec = StreamingRecognizer(cfg, str(checkpoint))
    raw = np.concatenate([rec.step(rec.prepare([f[..., ::-1]]))[0] for f in read(video)[0][:1]])
    want = 1 / (1 + np.exp(-raw)) if multi_class else np.exp(raw) / np.exp(raw).sum()
    np.testing.assert_allclose(lines(tmp_path / 'out.jsonl')[0]['scores'], want[0], atol=1e-5)


@pytest.mark.slow
def test_a_camera_is_opened_again_and_its_scores_begin_anew(camera, checkpoint, tmp_path):
    server = camera(12, 0.04)
    done = run_tool(
        'tools/stream_demo.py',
        server.address,
        CONFIG,
        checkpoint,
        '--json',
        tmp_path / 'out.jsonl',
        '--out',
        tmp_path / 'out.mp4',
        '--max-frames',
        16,
        '--threads',
        1,
    )
    assert done.returncode == 0, done.stderr
    found = lines(tmp_path / 'out.jsonl')
    assert len(found) == 16 and found[-1]['session'] >= 1
    assert ' 0 reconnects' not in done.stdout
    rec = StreamingRecognizer(ROOT / CONFIG, str(checkpoint))
    state = session = None
    for line in found:
        # Each session shows the pictures from 0 to 11.
        frame = picture(line['frame'] % 12)[None]
        anew, new = rec.step(frame)
        on, state = rec.step(frame, state)
        if line['session'] != session:
            session, scores, state = line['session'], anew, new
            if session == 1:
                assert (anew - on).abs().max() > 0.03
        else:
            scores = on
        np.testing.assert_allclose(line['scores'], scores[0], atol=0.01)
    assert found[0]['top'][0]['label'].startswith(('class ', 'Right', 'Left', 'Up', 'Down'))
    # The video keeps the camera's time, so that it is not played too fast.
    frames, fps = read(tmp_path / 'out.mp4')
    assert len(frames) / fps == pytest.approx(found[-1]['time'], abs=0.2)


def test_standard_output_holds_the_scores_alone(quickstart_data, checkpoint):
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    done = run_tool(
        'tools/stream_demo.py',
        video,
        CONFIG,
        checkpoint,
        '--json',
        '-',
        '--max-frames',
        3,
        '--threads',
        1,
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)['frame'] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert '3 frames, ' in done.stderr


@pytest.mark.parametrize(
    'arguments, words',
    [
        (
            ['absent.avi', CONFIG, 'CHECKPOINT', '--json', '-'],
            'got absent.avi, which does not exist',
        ),
        (['VIDEO', CONFIG, 'absent.pth', '--json', '-'], 'absent.pth'),
        (
            [
                'VIDEO',
                'configs/mobilenet_convlstm_quickstart.py',
                'CHECKPOINT',
                '--cfg-options',
                'model.cls_head.num_classes=3',
                '--json',
                '-',
            ],
            'does not fit the config',
        ),
    ],
)
def test_what_cannot_run(arguments, words, quickstart_data, checkpoint):
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    names = dict(VIDEO=video, CHECKPOINT=checkpoint)
    done = run_tool('tools/stream_demo.py', *(names.get(name, name) for name in arguments))
    assert done.returncode != 0
    assert words in done.stderr and 'Traceback' not in done.stderr


def start(*arguments, **options):
    """The tool in the background."""
    return subprocess.Popen(
        [sys.executable, 'tools/stream_demo.py', *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.slow
@pytest.mark.parametrize('names', [['SIGHUP'], ['SIGTERM', 'SIGHUP']])
def test_signals_end_it_with_whole_files(names, camera, checkpoint, tmp_path):
    server = camera(100_000, 0.02)
    out, scores = tmp_path / 'out.mp4', tmp_path / 'out.jsonl'
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    demo = start(server.address, CONFIG, checkpoint, '--out', out, '--json', scores, '--threads', 1)
    signal.signal(signal.SIGHUP, before)
    while not scores.exists() or scores.read_text().count('\n') < 3:
        assert demo.poll() is None, demo.stderr.read()
        time.sleep(0.05)
    for name in names:
        demo.send_signal(getattr(signal, name))
    said, errors = demo.communicate(timeout=60)
    assert demo.returncode == 0, errors
    written = lines(scores)
    assert f'{len(written)} frames, ' in said
    assert len(read(out)[0]) >= len(written)


def test_ignored_signals_stay_ignored(monkeypatch):
    """SIGHUP under nohup; and the handlers of before come back."""

    class Source:
        stops = 0

        def stop(self):
            self.stops += 1

    source, before = Source(), signal.getsignal(signal.SIGTERM)
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Shells start background jobs with SIGINT ignored.
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with stream.stopped_by_signals(source):
            os.kill(os.getpid(), signal.SIGHUP)
            assert source.stops == 0
            os.kill(os.getpid(), signal.SIGINT)
            assert source.stops == 1
            with pytest.raises(KeyboardInterrupt):  # the second one
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
    finally:
        signal.signal(signal.SIGHUP, old)
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.signal(signal.SIGINT, interrupt) is signal.default_int_handler


@pytest.mark.slow
def test_the_reader_of_the_scores_leaves(camera, checkpoint):
    server = camera(100_000, 0.02)
    demo = start(server.address, CONFIG, checkpoint, '--json', '-', '--threads', 1)
    assert 'frame' in json.loads(demo.stdout.readline())
    demo.stdout.close()
    errors = demo.stderr.read()
    assert demo.wait(60) == 0 and 'Broken' not in errors and ' frames/s' in errors


@pytest.mark.slow
def test_no_password_is_printed_or_written(camera, checkpoint, tmp_path):
    server = camera(4, 0.02)
    address = server.address.replace('://', '://operator:secret@') + '?password=hidden'
    demo = start(
        address,
        CONFIG,
        checkpoint,
        '--json',
        tmp_path / 'out.jsonl',
        '--retries',
        1,
        '--threads',
        1,
    )
    while server.connections < 2:
        assert demo.poll() is None, demo.stderr.read()
        time.sleep(0.05)
    server.shutdown()
    server.server_close()
    said, errors = demo.communicate(timeout=60)
    assert demo.returncode != 0
    assert 'lost after' in errors and 'within 1 tries' in errors
    everything = said + errors + (tmp_path / 'out.jsonl').read_text()
    assert 'secret' not in everything and 'hidden' not in everything


def demo_in_process(*arguments):
    return run_tool('tools/stream_demo.py', *arguments, '--threads', 1)


def test_several_sources_share_a_batch_and_a_log(quickstart_data, checkpoint, tmp_path):
    """Each gets the scores that it has alone; a folder of pictures is a source."""
    videos = sorted((quickstart_data / 'videos').glob('*/*.avi'))[:2]
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for k, image in enumerate(read(videos[0])[0]):
        cv2.imwrite(str(folder / f'{k}.png'), image)
    out = tmp_path / 'out.jsonl'
    done = demo_in_process(
        *videos, folder, CONFIG, checkpoint,
        '--json', out, '--out', tmp_path / 'v.mp4', '--fps', 8,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '48 frames, ' in done.stdout
    found = {str(source): [] for source in (*videos, folder)}
    for line in lines(out):
        found[line['source']].append(line)
    rec = StreamingRecognizer(ROOT / CONFIG, str(checkpoint))
    for source, video in zip(found, (*videos, videos[0])):
        images = [cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in read(video)[0]]
        scores, _ = rec.steps(np.stack(images)[None])
        np.testing.assert_allclose([line['scores'] for line in found[source]], scores[0], atol=1e-5)
        assert [line['time'] for line in found[source]] == [k / 8 for k in range(16)]
    assert [len(read(tmp_path / f'v_{k}.mp4')[0]) for k in range(3)] == [16] * 3
    # The log of a pipe has lines with times, and nothing that moves a cursor.
    assert f'{folder}: ended' in done.stderr and '\x1b' not in done.stderr


def test_events_are_those_of_the_scores(quickstart_data, checkpoint, tmp_path):
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    options = '--event-high', 0.13, '--event-low', 0.12, '--event-merge-gap', 0.2
    files = '--json', tmp_path / 's.jsonl', '--events-out', tmp_path / 'e.jsonl'
    done = demo_in_process(video, CONFIG, checkpoint, *files, *options)
    assert done.returncode == 0, done.stderr
    scored, found = lines(tmp_path / 's.jsonl'), lines(tmp_path / 'e.jsonl')
    labels = (quickstart_data / 'label_map.txt').read_text().split()
    names = [top['label'] for top in scored[0]['top']]
    labels = labels if names[0] in labels else [f'class {k}' for k in range(8)]
    wanted = find_events(
        [line['scores'] for line in scored],
        [line['time'] for line in scored],
        labels, high=0.13, low=0.12, merge_gap=0.2,
    )  # fmt: skip
    assert wanted and f', {len(wanted)} events' in done.stdout
    keys = ('start', 'end', 'label')
    assert sorted(tuple(e[k] for k in keys) for e in found) == [event[:3] for event in wanted]
    assert {(e['state'], e['source']) for e in found} == {('ended', str(video))}
    # On request they go to standard output, which then holds nothing else.
    again = demo_in_process(video, CONFIG, checkpoint, '--events', *options)
    assert [json.loads(line)['start'] for line in again.stdout.splitlines()] == [
        e['start'] for e in found
    ]


def test_events_of_pictures_that_are_seconds_apart(checkpoint, tmp_path):
    """They last from one picture to the next, and are posted as well as printed."""
    for k in range(5):
        cv2.imwrite(str(tmp_path / f'{k}.png'), picture(k))
    options = '--events', '--event-high', 0.01, '--event-low', 0.01, '--fps', 0.2
    hook = '--webhook', 'http://127.0.0.1:9'
    done = demo_in_process(tmp_path, CONFIG, checkpoint, *options, *hook)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 8 and {(e['start'], e['end']) for e in found} == {(0, 25)}


def test_wrong_arguments_show_no_passwords(checkpoint):
    address = 'rtsp://me:secret@127.0.0.1:9/s'
    for arguments, words in (
        ([address, CONFIG, checkpoint, '--bogus', address], 'unrecognized'),
        ([address, CONFIG, checkpoint, '--webhook', 'ftp://me:secret@host'], 'of a webhook'),
        ([address, CONFIG, checkpoint, '--events', '--none-class', 'idle'], "got 'idle'"),
        ([address, CONFIG, checkpoint, '--activity', 'absent.json'], 'absent.json'),
        ([address, CONFIG, checkpoint, '--device', 'foo'], 'expected cpu or a GPU here, got foo'),
        ([address, CONFIG, checkpoint], 'cannot open rtsp://me:***@'),
    ):
        done = demo_in_process(*arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert 'secret' not in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_random_interruptions(checkpoint, tmp_path, monkeypatch):
    """A handful of benchmarks/interruptions.py; 200 of them in its own run."""
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    import interruptions

    from cnnlstm_mm.streaming import source

    monkeypatch.setattr(source, 'PAUSE', source.PAUSE)
    monkeypatch.setattr(source, 'LONGEST_PAUSE', source.LONGEST_PAUSE)
    arguments = [str(ROOT / CONFIG), str(checkpoint), '--count', '14', '--seed', '1']
    found = interruptions.run(interruptions.argument_parser().parse_args(arguments), tmp_path)
    assert found['code'] == 2 and 'lost after' in found['error'] and not found['secret']
    assert sum(found['interruptions'].values()) == 14
    assert found['sessions'] > 3 and found['video_frames'] >= found['frames'] > 0
    assert found['longest'] < 10 * found['allowed']  # a hang would last for ever


@pytest.mark.parametrize('words', [(), ('--show',), ('--show', '--json', 'scores.jsonl')])
def test_without_a_display(words, quickstart_data, checkpoint, monkeypatch, tmp_path):
    """No window is opened, in which Qt would end the process."""
    if sys.platform in ('darwin', 'win32'):
        pytest.skip('windows need no DISPLAY here')
    for name in ('DISPLAY', 'WAYLAND_DISPLAY', 'QT_QPA_PLATFORM'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    options = ('--cfg-options', f'data_root={quickstart_data}')
    done = demo_in_process(video, ROOT / CONFIG, checkpoint, *words, *options)
    if words:
        assert done.returncode == 2 and '--out FILE.mp4' in done.stderr
        assert not Path('scores.jsonl').exists()
    else:
        assert done.returncode == 0 and ', at the end ' in done.stdout


def test_a_window(quickstart_data, checkpoint, monkeypatch):
    """It is opened where there is a display; q ends the stream."""
    shown = []
    monkeypatch.setattr(stream, 'has_display', lambda: True)
    monkeypatch.setattr(cv2, 'imshow', lambda name, image: shown.append((name, image.shape)))
    monkeypatch.setattr(cv2, 'waitKey', lambda wait: ord('q') if len(shown) == 3 else -1)
    video = next((quickstart_data / 'videos').glob('*/*.avi'))
    done = demo_in_process(
        video, CONFIG, checkpoint, '--cfg-options', f'data_root={quickstart_data}'
    )
    assert done.returncode == 0 and len(shown) == 3, done.stderr
    assert str(video) in shown[0][0] and shown[0][1][2] == 3
