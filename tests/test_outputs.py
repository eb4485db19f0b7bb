"""Outputs that would replace what is read, each other, or cannot be made, before any work."""

import os

import pytest
from helpers.support import process_state

from cnnlstm_mm.commands import caption, events, predict, stream
from cnnlstm_mm.storage import check_outputs


def test_outputs_have_a_place_of_their_own(tmp_path):
    video, other = tmp_path / 'a.mp4', tmp_path / 'new' / 'b.mp4'
    video.touch()
    (tmp_path / 'link.mp4').symlink_to(video)
    check_outputs([video, '-', 'rtsp://camera', None], {'--out': other, '--json': None})
    check_outputs([video], {'--a': '-', '--b': '-', '--c': os.devnull, '--d': os.devnull})
    check_outputs([], {}, {'--dir': tmp_path / 'more/new'})
    for files, folders, words in (
        (
            {'--out': video},
            {},
            '--out: expected a file of its own, got .*a.mp4, which is read; fix:',
        ),
        ({'--out': tmp_path / 'new/../link.mp4'}, {}, 'link.mp4, which is read'),
        ({'--a': other, '--b': str(other)}, {}, '--b: .* which is that of --a; fix: name another'),
        ({'--out': tmp_path}, {}, '--out: expected a file, got the folder'),
        ({'--out': video / 'b'}, {}, '--out: expected a folder, got the file .*a.mp4'),
        ({'--out': os.fsdecode(b'caf\xe9.mp4')}, {}, 'expected a name in UTF-8'),
        ({}, {'--dir': video}, '--dir: expected a folder, got the file .*a.mp4'),
    ):
        with pytest.raises(ValueError, match=words):
            check_outputs([video], files, folders)


@pytest.mark.parametrize(
    'command, words, error',
    [
        (stream, ['a.mp4', 'c.py', 'w.pth', '--out', 'a.mp4'], '--out: expected a file of its'),
        (stream, ['b', 'a_1.mp4', 'c.py', 'w.pth', '--out', 'a.mp4'], '--out (1): expected a file'),
        (stream, ['a.mp4', 'c.py', 'w.pth', '--json', 'x', '--events-out', 'x'], 'that of --json'),
        (predict, ['c.py', 'w.pth', 'a.mp4', '--jsonl', 'x', '--csv', 'x'], 'that of --jsonl'),
        (predict, ['c.py', 'w.pth', 'a.mp4', '--csv', 'a.mp4'], '--csv: expected a file of its'),
        (predict, ['c.py', 'w.pth', 'a.mp4', '--out', 'a.mp4'], '--out: expected a folder'),
        (predict, ['c.py', 'w.pth', 'b', '--every', '1', '--timeline', 'w.pth'], '--timeline: exp'),
        (caption, ['a.mp4', 'c.py', 'w.pth', '--jsonl', 'a.mp4'], '--jsonl: expected a file of'),
        (events, ['a.mp4', 'w.pth', '--json', 'a.mp4'], '--json: expected a file of its own'),
        (stream, ['b', 'c.py', 'w.pth', '--topk', '0'], '--topk: expected an int from 1'),
        (stream, ['b', 'c.py', 'w.pth', '--every', '0'], '--every: expected a number in [1'),
        (stream, ['b', 'c.py', 'w.pth', '--max-frames', '0'], '--max-frames: expected a number in'),
        (stream, ['b', 'c.py', 'w.pth', '--threads', '-1'], '--threads: expected an int from 1'),
        (stream, ['b', 'c.py', 'w.pth', '--retries', '-1'], '--retries: expected an int from 0'),
        (
            stream,
            ['b', 'c.py', 'w.pth', '--event-high', '60'],
            '--event-high: expected a number in',
        ),
        (
            stream,
            ['b', 'c.py', 'w.pth', '--event-window', '1'],
            '--event-window: expected --events',
        ),
        (stream, ['b', 'c.py', 'w.pth', '--none-class', '1'], '--none-class: expected --events'),
        (predict, ['c.py', 'w.pth', 'b', '--overlap', '3'], '--overlap: expected --every SECONDS'),
        (predict, ['c.py', 'w.pth', 'b', '--none-class', 'x'], '--none-class: expected --every'),
    ],
)
def test_commands_refuse_before_any_work(command, words, error, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('a.mp4', 'a_1.mp4', 'c.py', 'w.pth'):
        (tmp_path / name).write_text('as it was')
    with process_state():
        assert command.main(words) == 2
    assert error in capsys.readouterr().err
    assert {path.read_text() for path in tmp_path.iterdir()} == {'as it was'}
