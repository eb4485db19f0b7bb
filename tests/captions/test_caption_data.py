"""Caption lists and their data set: every odd caption handled, or refused by line."""

import json
import pickle

import numpy as np
import pytest
from helpers.caption_models import PIPELINE

from cnnlstm_mm.captions import CaptionDataset
from cnnlstm_mm.datasets.caption_list import read_captions
from cnnlstm_mm.datasets.seeding import seed_everything

WORDS = ' '.join(['word'] * 200)
ODD = dict(long=WORDS, chinese='一个男人在跑步', newline=' two\nlines ', quote='he said "go", left')


def write(path, clips):
    lines = [json.dumps(dict(video=name, captions=texts)) for name, texts in clips.items()]
    path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    return str(path)


@pytest.fixture
def videos(quickstart_data):
    return sorted((quickstart_data / 'videos').rglob('*.avi'))[:3]


def dataset(folder, clips, **options):
    return CaptionDataset(
        ann_file=write(folder / 'c.jsonl', clips),
        data_prefix=dict(video=''),
        pipeline=PIPELINE,
        **options,
    )


def test_odd_captions_are_read(tmp_path):
    clips = read_captions(write(tmp_path / 'c.jsonl', {'a.avi': list(ODD.values())}))
    assert clips[0].captions == [WORDS, '一个男人在跑步', 'two lines', ODD['quote']]
    table = tmp_path / 'c.csv'
    table.write_text(
        '\ufeffVideo,Caption\n'
        + ''.join('a b.avi,"{}"\n'.format(text.replace('"', '""')) for text in ODD.values()),
        encoding='utf-8',
    )
    (clip,) = read_captions(str(table))
    assert clip.path == 'a b.avi' and clip.line == 2
    assert clip.captions == clips[0].captions
    table.rename(tmp_path / 'c.tsv').write_text('video\tcaption\nb.avi\ta, b\n')
    assert read_captions(str(tmp_path / 'c.tsv'))[0].captions == ['a, b']


def test_a_video_may_stand_in_several_lines(tmp_path):
    path = tmp_path / 'c.jsonl'
    path.write_text('{"video": "a", "captions": ["x"]}\n\n{"video": "a", "captions": ["y"]}\n')
    (clip,) = read_captions(str(path))
    assert clip.captions == ['x', 'y'] and clip.line == 1


@pytest.mark.parametrize(
    'line,found',
    [
        ('{"video": "a.avi", "captions": [""]}', "caption '', without words"),
        ('{"video": "a.avi", "captions": ["x", " ?! "]}', "caption ' ?! ', without words"),
        ('{"video": "a.avi", "captions": []}', 'a.avi has no caption'),
        ('{"video": "a.avi"}', 'is not a video with captions'),
        ('{"video": "a.avi", "captions": "x"}', 'is not a video with captions'),
        ('{"video": "a.avi", "captions": [3]}', 'is not a video with captions'),
        ('{"video": "", "captions": ["x"]}', 'is not a video with captions'),
        ('{"video": "a.avi", "captions": ["x"', 'is not a video with captions'),
        ('a.avi 3', 'is not a video with captions'),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, line, found):
    path = tmp_path / 'c.jsonl'
    path.write_text('{"video": "b.avi", "captions": ["x"]}\n' + line + '\n')
    with pytest.raises(ValueError) as error:
        read_captions(str(path))
    assert 'c.jsonl' in str(error.value) and 'line 2' in str(error.value)
    assert found in str(error.value)


@pytest.mark.parametrize(
    'text,found',
    [
        ('file,words\na,b\n', 'the header is'),
        ('video,caption\na.avi,one, two\n', 'has 3 columns'),
        ('video,caption\na.avi,\n', "caption '', without words"),
        ('video,caption\n', 'got none'),
        ('', 'got none'),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, found):
    path = tmp_path / 'c.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match='c.csv') as error:
        read_captions(str(path))
    assert found in str(error.value)


def test_a_missing_clip_is_named_by_line(tmp_path, videos):
    clips = {str(videos[0]): ['x'], str(tmp_path / 'absent.avi'): ['y']}
    with pytest.raises(FileNotFoundError, match=r'(?s)line 2.*absent\.avi'):
        dataset(tmp_path, clips)


def test_one_caption_is_drawn_a_visit_and_all_are_used_in_a_test(tmp_path, videos):
    clips = {str(v): [f'{n} {k}' for k in range(3)] for n, v in enumerate(videos)}
    train = dataset(tmp_path, clips)
    drawn = []
    for seed in (0, 0, *range(20)):
        seed_everything(seed)
        drawn.append(train[1]['data_samples'].caption)
    assert drawn[0] == drawn[1] and set(drawn) == {'1 0', '1 1', '1 2'}
    test = dataset(tmp_path, clips, test_mode=True)
    for n, video in enumerate(videos):
        sample = test[n]['data_samples']
        assert sample.captions == clips[str(video)] and 'caption' not in sample
        assert sample.filename == str(video)
    assert pickle.loads(pickle.dumps(test))[0]['data_samples'].captions == clips[str(videos[0])]


def test_a_broken_clip_keeps_its_captions_in_a_test(tmp_path, videos):
    broken = tmp_path / 'broken.avi'
    broken.write_bytes(b'RIFF')
    clips = {str(broken): ['of the broken one'], str(videos[0]): ['of another']}
    sample = dataset(tmp_path, clips, test_mode=True)[0]['data_samples']
    assert sample.captions == ['of the broken one'] and sample.broken[0][0] == str(broken)
    assert sample.filename == str(broken)
    np.random.seed(0)
    sample = dataset(tmp_path, clips)[0]['data_samples']
    assert sample.caption == 'of another' and sample.broken[0][0] == str(broken)
