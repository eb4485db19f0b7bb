"""Broken videos: replaced and named in training, named in testing."""

import re
import shutil

import pytest
from helpers.support import ROOT, run_forked, run_tool

pytestmark = pytest.mark.slow

CONFIG = 'configs/mobilenet_convlstm_quickstart.py'
BREAKS = ('cut', 'empty', 'text')


def plant(source, how, target):
    """Write a broken copy of a video."""
    data = source.read_bytes()
    target.write_bytes(dict(cut=data[: len(data) // 2], empty=b'', text=b'no video\n' * 99)[how])


@pytest.fixture(scope='module')
def data(quickstart_data, tmp_path_factory):
    """Lists of 100 videos with 3 and with 10 broken ones, and a test list."""
    root = tmp_path_factory.mktemp('broken')
    videos = sorted((quickstart_data / 'videos').rglob('*.avi'))
    (root / 'videos').mkdir()
    for count in (3, 10):
        lines = []
        for k in range(100):
            source = videos[k % len(videos)]
            broken = k % (100 // count) == 5 and k // (100 // count) < count
            name = f'{"bad" if broken else "good"}{count}_{k}.avi'
            if broken:
                plant(source, BREAKS[k // (100 // count) % 3], root / 'videos' / name)
            else:
                shutil.copy(source, root / 'videos' / name)
            lines.append(f'{name} {k % 8}\n')
        (root / f'broken{count}.txt').write_text(''.join(lines))
    test = [line for line in (root / 'broken10.txt').read_text().splitlines() if 'bad' in line][:3]
    good = [line for line in (root / 'broken10.txt').read_text().splitlines() if 'good' in line][:8]
    (root / 'test.txt').write_text('\n'.join(test + good) + '\n')
    return root


def options(data, mode, ann, *more):
    loader = f'{mode}_dataloader'
    return [
        '--cfg-options',
        f'{loader}.dataset.ann_file={data}/{ann}.txt',
        f'{loader}.dataset.data_prefix.video={data}/videos',
        f'{loader}.dataset.pipeline.3.scale=(32,32)',
        f'{loader}.num_workers=2',
        'train_cfg.max_epochs=2',
        'train_dataloader.sampler.shuffle=True',
        f'{loader}.batch_size=10',
        *more,
    ]


def run(tool, processes, *args):
    if processes == 1:
        return run_tool(tool, *args)
    return run_forked(tool, *args, '--launcher', 'pytorch', processes=processes)


def replaced_videos(text):
    """Broken videos that the log names as replaced."""
    return re.findall(r'Broken video, replaced by another: \S*/(\S+) \(', text)


def in_list(data, ann):
    return sorted(
        line.split()[0]
        for line in (data / f'{ann}.txt').read_text().splitlines()
        if line.startswith('bad')
    )


def test_training_survives_three_percent(data, tmp_path):
    for processes in (1, 2):
        work = tmp_path / str(processes)
        args = [CONFIG, '--no-validate', '--work-dir', work, *options(data, 'train', 'broken3')]
        done = run('tools/train.py', processes, *args)
        assert done.returncode == 0, done.stderr[-3000:]
        log = next(work.glob('*/*.log')).read_text()
        assert sorted(replaced_videos(log)) == in_list(data, 'broken3')
        assert '3 of 100 training videos (3.0%) are broken' in log
        assert 'ends early' in log and '0 bytes' in log


def test_training_stops_at_ten_percent(data, tmp_path):
    done = run_tool(
        'tools/train.py',
        CONFIG,
        '--no-validate',
        '--work-dir',
        tmp_path,
        *options(data, 'train', 'broken10'),
    )
    assert done.returncode != 0
    count = int(re.search(r'(\d+) of 100 training videos are broken', done.stderr)[1])
    assert 5 < count <= 10
    listed = done.stderr.rsplit('max_broken_share=5%', 1)[1]
    assert len(set(re.findall(r'bad10_\d+\.avi', listed))) == count


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory):
    """An untrained model."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    from mmaction.registry import MODELS

    init_default_scope('mmaction')
    path = tmp_path_factory.mktemp('model') / 'model.pth'
    model = MODELS.build(Config.fromfile(ROOT / CONFIG).model)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.mark.parametrize('processes', [1, 2])
def test_testing_names_all_and_stops(data, checkpoint, tmp_path, processes):
    args = [CONFIG, checkpoint, '--work-dir', tmp_path, *options(data, 'test', 'test')]
    done = run('tools/test.py', processes, *args)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert 'expected 11 readable videos, got 3 broken ones' in output
    assert all(name in output for name in in_list(data, 'test'))
    assert 'acc/top1' not in output


def test_broken_videos_can_count_as_wrong(data, checkpoint, tmp_path):
    import pickle

    done = run_tool(
        'tools/test.py',
        CONFIG,
        checkpoint,
        '--work-dir',
        tmp_path,
        '--dump',
        tmp_path / 'scores.pkl',
        *options(data, 'test', 'test', 'default_hooks.broken_videos.count_as_wrong=True'),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = pickle.loads((tmp_path / 'scores.pkl').read_bytes())
    labels = [int(line.split()[1]) for line in (data / 'test.txt').read_text().splitlines()]
    assert [int(r['gt_label']) for r in results] == labels
    for result, label in list(zip(results, labels))[:3]:
        assert result['pred_score'][label] == 0
        assert result['pred_score'].sum() == 7
    assert all(r['pred_score'].sum() < 1.01 for r in results[3:])


def test_short_reads_repeat_the_last_frame(shared):
    """The header of this clip promises frames that cannot be decoded."""
    import cv2
    import numpy as np

    from cnnlstm_mm.datasets import PathDecordInit

    path = str(shared / 'data/ucf101_mini10/videos/Basketball/v_Basketball_g13_c02.avi')
    capture, frames = cv2.VideoCapture(path), 0
    there, frame = capture.read()
    while there:
        last, frames = frame, frames + 1
        there, frame = capture.read()
    results = PathDecordInit(decoder='opencv')(dict(filename=path))
    assert frames < results['total_frames']
    read = results['video_reader'].get_batch(range(results['total_frames'])).asnumpy()
    assert np.abs(read[frames - 1].astype(int) - last[..., ::-1]).mean() < 1
    assert all(np.array_equal(frame, read[frames - 1]) for frame in read[frames:])
