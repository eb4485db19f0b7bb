"""tools/data/prepare_folder.py: layouts, splits, broken clips, and configs that train."""

import json
import re
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from helpers.support import run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.commands.prepare import folder
from cnnlstm_mm.commands.prepare.folder_frames import check_frame_folders
from cnnlstm_mm.commands.prepare.folder_samples import Sample
from cnnlstm_mm.commands.prepare.folder_split import split_samples
from cnnlstm_mm.commands.prepare.probing import probe
from mmaction.registry import DATASETS, MODELS

TOOL = 'tools/data/prepare_folder.py'


def write_video(path, seed=0, frames=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (64, 48))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (64, 48))
    for k in range(frames):
        writer.write(np.roll(scene, 2 * k, 1))
    writer.release()


@pytest.fixture
def clips(tmp_path):
    """Three classes, six clips each, of three persons; one clip is broken."""
    root = tmp_path / 'my clips'
    for c, name in enumerate(('jump', 'run fast', 'wave')):
        for k in range(6):
            write_video(root / name / f'p{k % 3}_{k}.avi', 10 * c + k)
    (root / 'wave/p9_broken.avi').write_bytes(b'RIFF')
    return root


@pytest.fixture
def in_process(monkeypatch):
    """Decode without processes."""
    monkeypatch.setattr(
        folder,
        'probe_all',
        lambda videos, log, workers: {name: probe(str(path)) for name, path in videos.items()},
    )


def prepare(clips, out, *args, code=0):
    done = run_tool(TOOL, clips, '--out', out, '--workers', 1, *args)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def rows(path):
    return [line.split('\t') for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_one_folder_a_class(clips, tmp_path):
    out = tmp_path / 'out'
    done = prepare(clips, out, '--group-regex', r'/p(\d)_', '--val', 0.34, '--name', 'mine')
    assert '18 of 19 clips in 3 classes can be used' in done.stdout
    assert 'wave/p9_broken.avi' in done.stdout
    assert (out / 'label_map.txt').read_text().splitlines() == ['jump', 'run fast', 'wave']
    lists = {split: rows(out / f'mine_{split}_list.txt') for split in ('train', 'val')}
    assert {split: len(lines) for split, lines in lists.items()} == dict(train=12, val=6)
    for lines in lists.values():
        assert len({*Counter(label for _, label in lines).values()}) == 1
    persons = [{re.search(r'/p(\d)', path)[1] for path, _ in lines} for lines in lists.values()]
    assert not persons[0] & persons[1]
    assert all((clips / path).is_file() for lines in lists.values() for path, _ in lines)
    assert json.loads((out / 'report.json').read_text())['broken']

    cfg = Config.fromfile(out / 'mine.py')
    assert cfg.model.cls_head.num_classes == 3 and cfg.model.backbone.frozen
    sampling = cfg.test_pipeline[1]
    assert (sampling['clip_len'], sampling['frame_interval']) == (16, 1)
    init_default_scope('mmaction')
    for mode, lines in lists.items():
        dataset = DATASETS.build(cfg[f'{mode}_dataloader'].dataset)
        infos = [dataset.get_data_info(k) for k in range(len(dataset))]
        assert [str(info['label']) for info in infos] == [label for _, label in lines]
        assert dataset[0]['inputs'].shape == (1, 3, 16, 224, 224)
        assert list(dataset.metainfo['classes']) == ['jump', 'run fast', 'wave']

    # Again: what was decoded is not decoded again; another recipe is another config.
    done = prepare(clips, out, '--name', 'mine', '--recipe', 'mobilenet_convlstm', '--frames', 5)
    assert '19 of 19 videos were checked before' in done.stdout
    assert 'Checking videos' not in done.stdout and 'been edited' not in done.stdout
    cfg = Config.fromfile(out / 'mine.py')
    assert cfg.model.backbone.backbone.type == 'MobileNetV1'
    assert cfg.test_pipeline[1]['frame_interval'] == 4
    other = tmp_path / 'other'
    write_video(other / 'a/b.avi')
    assert 'folder=' in prepare(other, out, code=2).stderr


def test_an_edited_config_is_kept(clips, tmp_path, in_process):
    out = tmp_path / 'out'
    prepare(clips, out, '--name', 'mine')
    config = out / 'mine.py'
    made = config.read_text()
    for k in (1, 2):
        config.write_text(f'{made}lr = {k}\n')
        assert f'mine_edited_{k}.py' in prepare(clips, out, '--name', 'mine').stdout
        assert (out / f'mine_edited_{k}.py').read_text() == f'{made}lr = {k}\n'
        assert config.read_text() == made
    assert 'been edited' not in prepare(clips, out, '--name', 'mine').stdout


def test_given_splits(tmp_path, in_process):
    root = tmp_path / 'data'
    for k, split in enumerate(('train', 'Valid', 'test')):
        for name in 'ab':
            write_video(root / split / name / 'below' / f'{k}.avi')
    prepare(root, tmp_path / 'out')
    for split in ('train', 'val', 'test'):
        found = rows(tmp_path / f'out/data_{split}_list.txt')
        assert [path.split('/')[0].lower()[:3] for path, _ in found] == [split[:3]] * 2
    cfg = Config.fromfile(tmp_path / 'out/data.py')
    assert cfg.test_dataloader.dataset.ann_file.endswith('data_test_list.txt')


def test_a_table_with_several_labels(clips, tmp_path, in_process):
    table = tmp_path / 'labels.csv'
    table.write_text(
        'Video,Labels,Group\n'
        + ''.join(f'jump/p{k % 3}_{k}.avi,up;fast,{k % 3}\n' for k in range(6))
        + ''.join(f'wave/p{k % 3}_{k}.avi,up,{k % 3}\n' for k in range(6))
        + 'wave/p0_0.avi,slow,0\nwave/p1_1.avi,slow,1\nwave/p2_2.avi,slow,2\n'
    )
    out = tmp_path / 'out'
    options = ('--balanced', '--recipe', 'mobilenet_lstm', '--val', 0.34)
    prepare(clips, out, '--csv', table, *options)
    cfg = Config.fromfile(out / 'my clips.py')
    assert (out / 'label_map.txt').read_text().split() == ['fast', 'slow', 'up']
    train = rows(out / 'my clips_train_list.txt')
    assert len(train) == 8 and all(set(labels) <= {'0', '1', '2'} for _, *labels in train)
    assert any(labels == ['2', '0'] for _, *labels in train)
    head = cfg.model.cls_head
    assert head.multi_class and head.loss_cls == dict(
        type='BCELossWithLogits', class_weight='balanced'
    )
    assert cfg.test_evaluator.metric_list == ('mean_average_precision',)
    init_default_scope('mmaction')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset[0]['data_samples'].gt_label.shape == (3,)


def test_folders_of_frames(tmp_path):
    root = tmp_path / 'frames'
    for name in 'ab':
        for k in range(4):
            place = root / name / f'clip{k}'
            place.mkdir(parents=True)
            for t in range(7):
                picture = np.full((40, 60, 3), 30 * t, np.uint8)
                cv2.imwrite(str(place / f'f_{t + 5 * k:04}.png'), picture)
    (root / 'b/clip3/f_0018.png').unlink()
    cut = root / 'a/clip1/f_0007.png'
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-30])
    prepare(root, tmp_path / 'out', '--val', 0.25, '--frames', 3)
    broken = json.loads((tmp_path / 'out/report.json').read_text())['broken']
    assert broken['b/clip3'] == 'frames are missing: 18'
    assert 'f_0007.png cannot be decoded' in broken.pop('a/clip1') and len(broken) == 1
    cut.write_bytes(whole)  # the time of its folder stays
    prepare(root, tmp_path / 'out', '--val', 0.25, '--frames', 3)
    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert report['broken'] == {'b/clip3': 'frames are missing: 18'}
    cfg = Config.fromfile(tmp_path / 'out/frames.py')
    init_default_scope('mmaction')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    info = dataset.get_data_info(0)
    sample = dataset[0]
    assert info['total_frames'] == 7 and sample['inputs'].shape == (1, 3, 3, 224, 224)
    brightness = sample['inputs'][0].float().mean((0, 2, 3)).tolist()
    assert brightness[0] in (0, 30)  # of seven pictures three, two apart
    assert brightness == [brightness[0], brightness[0] + 60, brightness[0] + 120]


@pytest.mark.parametrize('seed', range(4))
def test_splits_are_stratified_and_keep_groups_apart(seed):
    rng = np.random.default_rng(seed)
    samples = [
        Sample(f'{k}', (f'c{k % 5}',), f'g{rng.integers(40)}')
        for k in range(int(rng.integers(200, 400)))
    ]
    shares = dict(train=0.7, val=0.2, test=0.1)
    lists = split_samples(samples, shares, seed)
    assert sorted(s.path for each in lists.values() for s in each) == sorted(
        s.path for s in samples
    )
    groups = [{s.group for s in each} for each in lists.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    counts = Counter(s.labels[0] for s in samples)
    for name, share in shares.items():
        for label, count in Counter(s.labels[0] for s in lists[name]).items():
            assert count / counts[label] == pytest.approx(share, abs=0.12)
    assert lists == split_samples(samples, shares, seed)


def test_a_single_group_of_a_class_is_trained_on():
    samples = [Sample(f'{k}', ('a',), f'{k}') for k in range(10)] + [Sample('x', ('b',), 'x')]
    lists = split_samples(samples, dict(train=0.5, val=0.5, test=0))
    assert 'x' in {s.path for s in lists['train']}
    with pytest.raises(ValueError, match='for validation, got none'):
        split_samples(samples[-1:], dict(train=0.5, val=0.5, test=0))


@pytest.mark.parametrize(
    'args, words',
    [
        (['--recipe', 'mobilenetv9_lstm'], 'mobilenetv2'),
        (['--recipe', 'mobilenetv2'], 'lightconvlstm'),
        (['--group-regex', 'person'], 'expected a match in each path, got none in jump/p0_0.avi'),
        (['--group-regex', '('], 'regular expression'),
        (['--val', '0'], '--val and --test'),
        (['--csv', 'absent.csv'], '--csv: expected a file'),
        (['--csv', '{root}/bad.csv'], 'bad.csv: expected a header'),
        (['--csv', '{root}/gone.csv'], 'got x/y.avi'),
        (['--csv', '{root}/empty.csv'], 'line 2: expected a class for jump/p0_0.avi'),
        (['--weights', 'absent.pth'], '--weights'),
    ],
)
def test_what_is_refused(args, words, clips, tmp_path):
    (clips / 'bad.csv').write_text('a,b\n1,2\n')
    (clips / 'gone.csv').write_text('path,label\nx/y.avi,a\n')
    (clips / 'empty.csv').write_text('path,label\njump/p0_0.avi,\n')
    done = prepare(clips, tmp_path / 'out', *(arg.format(root=clips) for arg in args), code=2)
    assert words in done.stderr and done.stderr.count('error:') == 1


def test_loose_clips_and_empty_folders(tmp_path):
    write_video(tmp_path / 'loose/a.avi')
    assert 'got a.avi' in prepare(tmp_path / 'loose', tmp_path / 'out', code=2).stderr
    (tmp_path / 'empty').mkdir()
    assert 'got none' in prepare(tmp_path / 'empty', tmp_path / 'out2', code=2).stderr
    assert 'expected a folder of clips' in prepare(tmp_path / 'x', tmp_path / 'o', code=2).stderr


def test_names_of_frames(tmp_path):
    for place, names in dict(
        a=['img_00001.jpg', 'img_00002.jpg'], b=['img_00003.jpg'], c=['1.jpg', '2.jpg'], d=['x.jpg']
    ).items():
        (tmp_path / place).mkdir()
        for name in names:
            (tmp_path / place / name).write_bytes(b'x')
    found, template = check_frame_folders(tmp_path, 'abcd')
    assert template == 'img_{:05}.jpg'
    assert [found[name]['state'] for name in 'abcd'] == ['ok', 'ok', 'broken', 'broken']
    assert (found['b']['start'], found['b']['frames']) == (3, 1)


@pytest.mark.slow
def test_from_a_folder_to_a_stream(clips, tmp_path):
    """Train on cached features, test and stream, with no edited file."""
    init_default_scope('mmaction')
    weights = tmp_path / 'mobilenet.pth'
    torch.save(MODELS.build(dict(type='MobileNetV2')).state_dict(), weights)
    options = ('--frames', 4, '--weights', weights, '--val', 0.34, '--name', 'mine')
    prepare(clips, tmp_path / 'out', *options)
    config, work = tmp_path / 'out/mine.py', tmp_path / 'work'
    small = ('train_cfg.max_epochs=2', 'train_cfg.val_begin=1')
    train = (config, '--work-dir', work, '--cache-features', '--cfg-options', *small)
    done = run_tool('tools/train.py', *train)
    assert done.returncode == 0, done.stderr
    assert f'Whole model: {work}/model.pth' in done.stdout
    assert len(done.stdout.splitlines()) < 30
    done = run_tool('tools/test.py', config, work / 'model.pth', '--work-dir', tmp_path / 'test')
    assert done.returncode == 0 and 'acc/top1' in done.stdout, done.stderr
    source = clips / 'jump/p0_0.avi'
    done = run_tool('tools/stream_demo.py', source, config, work / 'model.pth', '--json', '-')
    assert done.returncode == 0, done.stderr
    (first, *_) = map(json.loads, done.stdout.splitlines())
    assert {one['label'] for one in first['top']} == {'jump', 'run fast', 'wave'}
