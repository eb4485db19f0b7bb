"""cnnlstm-mm prepare msvd, msrvtt and vatex on small archives in the official layouts."""

import json
import shutil
import zipfile

import pytest
from helpers.support import run_tool

from cnnlstm_mm.captions.vocabulary import Vocabulary
from cnnlstm_mm.datasets.caption_list import read_captions


@pytest.fixture(scope='module')
def clips(quickstart_data):
    return sorted((quickstart_data / 'videos').rglob('*.avi'))


def make_videos(folder, names, clips, broken=(), cut=()):
    """Videos of these names; the broken ones are empty, of the cut ones half is left."""
    folder.mkdir(parents=True)
    for k, name in enumerate(names):
        shutil.copy(clips[k % len(clips)], folder / name)
    for name in broken:
        (folder / name).write_bytes(b'')
    for name in cut:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])


def prepare(data, *args, code=0):
    done = run_tool(f'tools/data/prepare_{data}.py', *args, '--workers', 1)
    assert done.returncode == code, done.stdout + done.stderr
    return ' '.join((done.stdout + done.stderr).split())


def lists(out):
    """Videos and captions of each list."""
    found = {}
    for split in ('train', 'val', 'test'):
        path = out / f'captions_{split}.jsonl'
        rows = read_captions(str(path)) if path.read_text() else []
        found[split] = {row.path: row.captions for row in rows}
        assert all((out / 'videos' / row.path).is_file() for row in rows)
    return found


@pytest.mark.slow
def test_msrvtt(tmp_path, clips):
    """Two JSON files, a zipped folder of clips, and every fault."""
    names = [f'video{n}.mp4' for n in (0, 1, 2, 3, 4, 5, 7, 9)]
    make_videos(tmp_path / 'v/TrainValVideo', names, clips, ['video2.mp4'], ['video3.mp4'])
    with zipfile.ZipFile(tmp_path / 'videos.zip', 'w') as archive:
        for path in sorted((tmp_path / 'v').rglob('*.mp4')):
            archive.write(path, path.relative_to(tmp_path / 'v'))
    splits = ['train'] * 6 + ['validate', 'validate', 'test', 'rest']
    videos = [dict(video_id=f'video{n}', split=s, id=n) for n, s in enumerate(splits)]
    sentences = [
        dict(video_id=f'video{n}', caption=text, sen_id=0)
        for n, text in [
            *((n, f'A man {n} runs.') for n in range(8) if n != 5),
            (0, 'a man 0 runs'),
            (0, 'A man 0 runs.'),
            (1, ''),
            (1, 'two\nlines'),
            (4, '一个男人'),
            (4, 'word ' * 200),
            (77, 'of nothing'),
            (8, 'a test'),
        ]
    ]
    sentences.append(dict(video_id='video0'))
    (tmp_path / 'train_val.json').write_text(
        json.dumps(dict(info={}, videos=[*videos[:8], videos[0]], sentences=sentences[:-2]))
    )
    (tmp_path / 'test.json').write_text(
        json.dumps(dict(videos=videos[8:], sentences=sentences[-2:]))
    )
    out = tmp_path / 'out'
    args = [tmp_path / 'videos.zip', tmp_path / 'train_val.json', tmp_path / 'test.json']
    said = prepare('msrvtt', *args, '--out', out)
    found = lists(out)
    assert {k: sorted(v) for k, v in found.items()} == dict(
        train=[f'TrainValVideo/video{n}.mp4' for n in (0, 1, 4)],
        val=['TrainValVideo/video7.mp4'],
        test=[],
    )
    train = {path[-10:-4]: texts for path, texts in found['train'].items()}
    assert train['video1'] == ['A man 1 runs.', 'two lines']
    assert train['video4'][1] == '一个男人' and len(train['video4'][2].split()) == 200
    report = json.loads((out / 'report.json').read_text())
    assert report['missing'] == ['video6', 'video8']
    assert set(report['broken']) == {'video2', 'video3'}
    assert '0 bytes' in report['broken']['video2'] and report['without_captions'] == ['video5']
    assert report['empty_captions'] == dict(video1=1) and report['extra'] == ['video9']
    assert report['repeated_captions'] == dict(video0=1)
    assert report['long_captions'] == dict(video4=200)
    faults = ' '.join(report['faults'])
    assert len(report['faults']) == 4
    for part in ('video0 stands twice', 'rest', 'video77', "{'video_id': 'video0'}"):
        assert part in faults, part
    assert report['by_split']['train'] == dict(ok=4, short=0, broken=2, missing=0)
    for part in (
        '4 of 9 clips can be used',
        '2 clips are missing: video6, video8',
        '2 clips are broken: video2 (0 bytes)',
        '1 clips have no caption: video5',
        '1 videos are in no split: video9',
        '4 entries cannot be used',
    ):
        assert part in said, part
    words = Vocabulary(out / 'vocabulary.json').words
    assert 'man' in words and 'test' not in words and '男' not in words, 'twice, in training'
    again = prepare('msrvtt', *args, '--out', out)
    assert 'were checked before' in again and lists(out) == found
    said = prepare('msrvtt', *args, '--out', out, '--min-count', 1, code=2)
    assert 'min_count' in said


@pytest.mark.slow
@pytest.mark.parametrize('splits', ['mapping', 'lists', 'names'])
def test_msvd(tmp_path, clips, splits):
    """The text and three ways to tell the splits."""
    numbers = dict(one_1_5=1, two_2_9=1200, three_0_4=1201, four_3_7=1300, five_1_2=1301)
    numbers.update(six_4_8=1970, seven_1_3=1971)
    if splits == 'names':
        numbers = {f'vid{n}': n for n in numbers.values()}
    names = list(numbers)
    make_videos(tmp_path / 'YouTubeClips', [f'{n}.avi' for n in names[:5]], clips)
    (tmp_path / 'YouTubeClips' / f'{names[1]}.avi').write_bytes(b'no video')
    text = tmp_path / 'AllVideoDescriptions.txt'
    text.write_text(
        '# a comment\n\n'
        + ''.join(f'{name} A man does {name}.\n{name} a dog\n' for name in names)
        + f'{names[0]}\nlost_1_2 of no split\n',
        encoding='utf-8-sig',
    )
    args = [tmp_path / 'YouTubeClips', text, '--out', tmp_path / 'out']
    if splits == 'mapping':
        lines = [f'{name} vid{n}' for name, n in numbers.items()] + ['nonsense']
        (tmp_path / 'youtube_mapping.txt').write_text('\n'.join(lines))
        args += ['--splits', tmp_path / 'youtube_mapping.txt']
    elif splits == 'lists':
        (tmp_path / 'lists').mkdir()
        for split, part in dict(train=names[:2], val=names[2:4], test=names[4:6]).items():
            more = [names[0]] if split == 'test' else []
            (tmp_path / 'lists' / f'{split}_list.txt').write_text('\n'.join([*part, *more]))
        args += ['--splits', tmp_path / 'lists']
    said = prepare('msvd', *args)
    found = lists(tmp_path / 'out')
    assert {k: list(v) for k, v in found.items()} == dict(
        train=[f'{names[0]}.avi'],
        val=[f'{names[2]}.avi', f'{names[3]}.avi'],
        test=[f'{names[4]}.avi'],
    )
    assert found['train'][f'{names[0]}.avi'] == [f'A man does {names[0]}.', 'a dog']
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['missing'] == [names[5]] and list(report['broken']) == [names[1]]
    faults = ' '.join(report['faults'])
    wanted = [f'{names[0]} has no caption', 'lost_1_2 is in no split', names[6]]
    wanted += dict(mapping=['nonsense'], lists=['stands in train already'], names=[])[splits]
    for part in wanted:
        assert part in faults, part
    assert '4 of 6 clips can be used' in said


def test_msvd_in_the_csv_of_the_corpus(tmp_path, clips):
    make_videos(tmp_path / 'v', ['a_b-c_1_5.avi'], clips)
    (tmp_path / 'corpus.csv').write_text(
        'VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description\n'
        'a_b-c,1,5,9,clean,3,English,"A man, alone."\n'
        'a_b-c,1,5,9,clean,3,German,Ein Mann\n'
        'a_b-c,1,5,9,clean,3,English,a man\n'
        'a_b-c,1,,9,clean,3,English,lost\n'
    )
    (tmp_path / 'map.txt').write_text('a_b-c_1_5 vid7\n')
    args = [tmp_path / 'v', tmp_path / 'corpus.csv', '--splits', tmp_path / 'map.txt']
    said = prepare('msvd', *args, '--out', tmp_path / 'out', '--min-count', 1)
    assert lists(tmp_path / 'out')['train'] == {'a_b-c_1_5.avi': ['A man, alone.', 'a man']}
    assert 'corpus.csv, line 5: no clip or no description' in said


def test_msvd_without_splits_is_refused(tmp_path, clips):
    make_videos(tmp_path / 'v', ['a_1_5.avi'], clips)
    (tmp_path / 'd.txt').write_text('a_1_5 a man\n')
    said = prepare('msvd', tmp_path / 'v', tmp_path / 'd.txt', '--out', tmp_path / 'out', code=2)
    assert 'expected the splits of MSVD' in said and 'fix: --splits' in said
    (tmp_path / 'd.txt').write_text('# nothing\n')
    said = prepare('msvd', tmp_path / 'v', tmp_path / 'd.txt', '--out', tmp_path / 'out', code=2)
    assert 'd.txt: expected "name caption" lines' in said


def test_vatex(tmp_path, clips):
    make_videos(tmp_path / 'v', ['x_000001_000011.mp4', 'y_000002_000012.mp4'], clips)
    entries = [
        dict(videoID='x_000001_000011', enCap=['A man runs', 'a man'], chCap=['一个男人', '人']),
        dict(videoID='z_000001_000011', enCap=['gone'], chCap=['没']),
        dict(videoID='w_000001_000011'),
    ]
    (tmp_path / 'train.json').write_text(json.dumps(entries))
    (tmp_path / 'val.json').write_text(
        json.dumps(
            [dict(entries[0]), dict(videoID='y_000002_000012', enCap=['b', 3], chCap=['乙'])]
        )
    )
    args = [tmp_path / 'v', '--train', tmp_path / 'train.json', '--val', tmp_path / 'val.json']
    said = prepare('vatex', *args, '--out', tmp_path / 'out', '--min-count', 1)
    found = lists(tmp_path / 'out')
    assert found == dict(
        train={'x_000001_000011.mp4': ['A man runs', 'a man']},
        val={'y_000002_000012.mp4': ['b']},
        test={},
    )
    for part in (
        '1 clips are missing: z_000001_000011',
        'entry 2 has no videoID or no enCap',
        'x_000001_000011 stands in train already',
        'y_000002_000012 has captions that are no text',
    ):
        assert part in said, part
    chinese = ['--language', 'zh', '--min-count', 1]
    prepare('vatex', *args, '--out', tmp_path / 'zh', *chinese)
    assert lists(tmp_path / 'zh')['train']['x_000001_000011.mp4'] == ['一个男人', '人']
    assert Vocabulary(tmp_path / 'zh/vocabulary.json').words[4] == '人'


@pytest.mark.parametrize('content', ['{}', '[]', '{"videos": [], "sentences": 3}', 'no json'])
def test_other_files_are_refused_by_name(tmp_path, clips, content):
    make_videos(tmp_path / 'v', ['video0.mp4'], clips)
    (tmp_path / 'd.json').write_text(content)
    said = prepare('msrvtt', tmp_path / 'v', tmp_path / 'd.json', '--out', tmp_path / 'o', code=2)
    assert 'd.json: expected' in said and 'fix: ' in said
    train = ['--train', tmp_path / 'd.json', '--out', tmp_path / 'p']
    said = prepare('vatex', tmp_path / 'v', *train, code=2)
    assert 'd.json: expected' in said and 'fix: ' in said


def test_missing_inputs_are_named(tmp_path):
    absent = tmp_path / 'absent.json'
    said = prepare('msrvtt', tmp_path, absent, '--out', tmp_path / 'o', code=2)
    assert 'absent.json: no such file' in said
