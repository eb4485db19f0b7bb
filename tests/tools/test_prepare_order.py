"""Something-Something V2, Jester, Diving48, RWF-2000: official lists, every planted fault named."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.support import run_tool
from helpers.tree import snapshot

from cnnlstm_mm.config import read_lines

LABELS = ['Pushing something from left to right', 'Pushing something from right to left']
SWIPES = ['Swiping Left', 'Swiping Right']


@pytest.fixture(scope='module')
def clips(quickstart_data):
    """Small real videos."""
    return sorted((quickstart_data / 'videos').rglob('*.avi'))


def prepare(name, *args, code=0):
    """Run a preparation; its inputs stay byte for byte. Its output, and its report."""
    inputs = [Path(a) for a in args]
    before = [snapshot(path) for path in inputs]
    out = inputs[0].parent / 'out'
    done = run_tool(f'tools/data/prepare_{name}.py', *args, '--out', out, '--workers', 1)
    assert done.returncode == code, done.stdout + done.stderr
    assert [snapshot(path) for path in inputs] == before
    report = out / 'report.json'
    return done.stdout + done.stderr, report.is_file() and json.loads(report.read_text()), out


def add_videos(folder, clips, *names):
    """Copies of videos; 'broken' ones are cut after 40 bytes."""
    for clip, name in zip(clips, names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, folder / name)
        if 'broken' in name:
            (folder / name).write_bytes(clip.read_bytes()[:40])


def sthv2(root, train, val, labels=None):
    root.mkdir()
    numbers = labels or {name: str(k) for k, name in enumerate(LABELS)}
    (root / 'something-something-v2-labels.json').write_text(json.dumps(numbers))
    for part, rows in (('train', train), ('validation', val)):
        entries = [dict(id=clip, label='pushing a cup', template=text) for clip, text in rows]
        (root / f'something-something-v2-{part}.json').write_text(json.dumps(entries))
    return root


def brackets(label):
    return label.replace('something', '[something]')


@pytest.mark.slow
def test_sthv2(clips, tmp_path):
    videos, (right, left) = tmp_path / 'videos', map(brackets, LABELS)
    add_videos(videos, clips, '7.webm', '12.webm', '5.webm', 'broken3.webm', 'extra.webm')
    train = [('12', left), ('7', right), ('broken3', right), ('99', left)]
    lists = sthv2(tmp_path / 'lists', train, [('5', left)])
    text, report, out = prepare('sthv2', videos, lists)
    assert (out / 'sthv2_train_list_videos.txt').read_text() == '12.webm 1\n7.webm 0\n'
    assert (out / 'sthv2_val_list_videos.txt').read_text() == '5.webm 1\n'
    assert read_lines(out / 'label_map.txt') == LABELS
    assert (out / 'videos/7.webm').is_file()
    assert (report['missing'], list(report['broken'])) == (['99'], ['broken3'])
    assert report['extra'] == ['extra.webm']
    assert all(name in text for name in ('99', 'broken3', 'extra.webm'))


@pytest.mark.parametrize(
    'fault, words',
    [
        ('class', "train.json, entry 1: expected one of the 2 classes, got 'Throwing something'"),
        ('both', 'expected each clip in one part, got 7 in training and validation'),
        ('twice', "train.json, entry 2: expected one class of the clip 7, got 'Pushing"),
        ('entry', "train.json, entry 1: expected 'template' of type str"),
        ('json', 'train.json, line 2: expected JSON, got '),
        ('labels', 'labels.json: expected the numbers from 0 by class name'),
        ('file', 'expected validation.json or something-something-v2-validation.json below'),
        ('copies', 'expected one file of the clip 7 below'),
    ],
)
def test_sthv2_names_faults(clips, tmp_path, fault, words):
    videos, (right, left) = tmp_path / 'videos', map(brackets, LABELS)
    add_videos(videos, clips, '7.webm', *(['sub/7.webm'] if fault == 'copies' else []))
    train, val = [('7', right)], [('5', left)]
    if fault == 'class':
        train = [('7', 'Throwing [something]')]
    elif fault == 'both':
        val = [('7', right)]
    elif fault == 'twice':
        train = [('7', right), ('7', left)]
    lists = sthv2(
        tmp_path / 'lists', train, val, dict.fromkeys(LABELS, '1') if fault == 'labels' else None
    )
    path = lists / 'something-something-v2-train.json'
    if fault == 'entry':
        path.write_text('[{"id": "7"}]')
    elif fault == 'json':
        path.write_text('[\n{"id": 7,,}]')
    elif fault == 'file':
        (lists / 'something-something-v2-validation.json').unlink()
    text, _, out = prepare('sthv2', videos, lists, code=2)
    assert words in ' '.join(text.split()) and 'fix: ' in text
    assert not (out / 'sthv2_train_list_videos.txt').exists()


def jester(root, train, val):
    root.mkdir()
    (root / 'jester-v1-labels.csv').write_text('\n'.join(SWIPES) + '\n')
    for part, rows in (('train', train), ('validation', val)):
        lines = [f'{clip};{label}\n' for clip, label in rows]
        (root / f'jester-v1-{part}.csv').write_text(''.join(lines))
    return root


def add_frames(folder, count):
    folder.mkdir(parents=True)
    for k in range(1, count + 1):
        cv2.imwrite(str(folder / f'{k:05d}.jpg'), np.full((8, 12, 3), 10 * k, np.uint8))


def test_jester_in_folders_of_frames(tmp_path):
    frames = tmp_path / 'frames'
    for clip, count in (('11', 3), ('4', 5), ('20', 4), ('21', 4), ('30', 2), ('31', 2)):
        add_frames(frames / clip, count)
    (frames / '20/00002.jpg').unlink()  # a gap
    cut = frames / '21/00004.jpg'
    cut.write_bytes(cut.read_bytes()[:-20])  # OpenCV reads it, with grey at its end
    (frames / '30/notes.jpg').write_bytes((frames / '30/00001.jpg').read_bytes())
    left, right = SWIPES
    train = [('11', right), ('20', left), ('21', left), ('30', left), ('77', left)]
    lists = jester(tmp_path / 'lists', train, [('4', left)])
    _, report, out = prepare('jester', frames, lists)
    assert (out / 'jester_train_list_rawframes.txt').read_text() == '11 3 1\n'
    assert (out / 'jester_val_list_rawframes.txt').read_text() == '4 5 0\n'
    assert (out / 'rawframes/11/00003.jpg').is_file()
    assert report['broken'].pop('21').startswith('00004.jpg cannot be decoded: ')
    assert report['broken'] == {'20': 'frame 2 of 3 is missing', '30': 'notes.jpg is not numbered'}
    assert (report['missing'], report['extra']) == (['77'], ['31'])


def test_jester_in_videos_and_its_faults(clips, tmp_path):
    videos = tmp_path / 'videos'
    add_videos(videos, clips, '11.webm', '4.webm')
    lists = jester(tmp_path / 'lists', [('11', SWIPES[1])], [('4', SWIPES[0])])
    _, _, out = prepare('jester', videos, lists)
    assert (out / 'jester_train_list_videos.txt').read_text() == '11.webm 1\n'
    (lists / 'jester-v1-train.csv').write_text('11;Swiping Right\neleven;Swiping Left\n')
    text, _, _ = prepare('jester', videos, lists, code=2)
    assert 'jester-v1-train.csv, line 2: expected "number;class"' in ' '.join(text.split())


@pytest.mark.slow
def test_diving48(clips, tmp_path):
    videos, lists = tmp_path / 'rgb', tmp_path / 'lists'
    add_videos(videos, clips, 'a_00001.mp4', 'broken_00002.mp4', 'c_00003.mp4')
    lists.mkdir()
    vocabulary = [['Back', '15som', '05Twis', 'FREE'], ['Back', '15som', '15Twis', 'FREE']]
    (lists / 'Diving48_vocab.json').write_text(json.dumps(vocabulary))

    def write(part, *rows):
        entries = [dict(vid_name=name, label=label, start_frame=0) for name, label in rows]
        (lists / f'Diving48_V2_{part}.json').write_text(json.dumps(entries))

    write('train', ('c_00003', 1), ('broken_00002', 0), ('d_00004', 0))
    write('test', ('a_00001', 0))
    _, report, out = prepare('diving48', videos, lists)
    assert (out / 'diving48_train_list_videos.txt').read_text() == 'c_00003.mp4 1\n'
    assert (out / 'diving48_val_list_videos.txt').read_text() == 'a_00001.mp4 0\n'
    assert read_lines(out / 'label_map.txt')[1] == 'Back_15som_15Twis_FREE'
    assert (report['missing'], list(report['broken'])) == (['d_00004'], ['broken_00002'])
    write('train', ('c_00003', 48))
    text, _, _ = prepare('diving48', videos, lists, code=2)
    assert 'entry 1: expected a label from 0 to 1, got 48' in ' '.join(text.split())


@pytest.mark.slow
def test_rwf2000(clips, tmp_path):
    root = tmp_path / 'RWF-2000'
    names = ['train/Fight/a b_0.avi', 'train/NonFight/a_0.avi', 'val/Fight/a_0.avi']
    add_videos(root, clips, *names, 'val/NonFight/x.avi', 'train/Fight/broken.avi', 'other.avi')
    _, report, out = prepare('rwf2000', root)
    lines = read_lines(out / 'rwf2000_train_list_videos.txt')
    assert lines == ['train/Fight/a_b_0.avi 0', 'train/NonFight/a_0.avi 1']
    assert read_lines(out / 'rwf2000_val_list_videos.txt') == [
        'val/Fight/a_0.avi 0',
        'val/NonFight/x.avi 1',
    ]
    assert (out / 'videos/train/Fight/a_b_0.avi').read_bytes() == (root / names[0]).read_bytes()
    assert (list(report['broken']), report['extra']) == (['train/Fight/broken.avi'], ['other.avi'])
    shutil.rmtree(root / 'val/NonFight')
    shutil.rmtree(out)
    text, _, _ = prepare('rwf2000', root, code=2)
    assert 'expected videos in val/NonFight below' in ' '.join(text.split())
