"""tools/train.py and tools/test.py as a user runs them, on encoded videos."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.support import ROOT, free_port, run_tool
from mmengine.config import Config

pytestmark = pytest.mark.slow

CONFIG = 'configs/mobilenet_convlstm_quickstart.py'
EPOCHS = 3


def small(data, *options):
    """The quickstart config on a small set: few, small, quick."""
    paths = [
        f'{mode}_dataloader.dataset.{key}={data}/{value}'
        for mode, split in (('train', 'train'), ('val', 'val'), ('test', 'val'))
        for key, value in (
            ('ann_file', f'quickstart_{split}_split_1_videos.txt'),
            ('data_prefix.video', 'videos'),
        )
    ]
    return [
        '--cfg-options',
        *paths,
        'train_dataloader.batch_size=4',
        f'train_cfg.max_epochs={EPOCHS}',
        'default_hooks.logger.interval=1',
        'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
        'test_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.persistent_workers=False',
        'test_dataloader.persistent_workers=False',
        *options,
    ]


def metrics_of(work_dir):
    """What the test of a work directory wrote beside its log."""
    (found,) = [p for p in work_dir.glob('*/*.json') if p.name != 'run_identity.json']
    return json.loads(found.read_text())


def logged(work_dir):
    """All scalars that the runs in ``work_dir`` logged, oldest first."""
    lines = []
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return lines


@pytest.fixture(scope='module')
def killed_and_resumed(quickstart_data, tmp_path_factory, forks):
    """A work dir whose training was killed in its second epoch and resumed."""
    work_dir = tmp_path_factory.mktemp('work')
    train = [
        'tools/train.py',
        CONFIG,
        '--work-dir',
        str(work_dir),
        '--seed',
        '1',
        *small(quickstart_data),
    ]
    log = work_dir / 'killed.log'
    process = subprocess.Popen(
        [sys.executable, *train], cwd=ROOT, stdout=log.open('w'), stderr=subprocess.STDOUT
    )
    deadline = time.time() + 300
    while not any(line.get('epoch') == 2 for line in logged(work_dir)):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.time() < deadline, 'no second epoch within 300 s'
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = logged(work_dir)
    last = Path(work_dir, 'last_checkpoint').read_text()
    resumed = run_tool(*train, '--resume')
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    return work_dir, before, last, resumed


def test_resume_goes_on_from_the_last_checkpoint(killed_and_resumed):
    work_dir, before, last, resumed = killed_and_resumed
    assert not any(line.get('epoch') == EPOCHS for line in before)
    assert last.endswith('epoch_1.pth')
    assert 'epochs 2 to 3' in resumed.stdout and f'Resumed from {last}' in resumed.stdout
    after = logged(work_dir)[len(before) :]
    epochs = [line['epoch'] for line in after if 'epoch' in line]
    assert epochs[0] == 2 and epochs[-1] == EPOCHS
    assert (work_dir / f'epoch_{EPOCHS}.pth').is_file()


def test_test_gives_the_accuracy_that_validation_gave(
    killed_and_resumed, quickstart_data, tmp_path
):
    work_dir = killed_and_resumed[0]
    validated = [line for line in logged(work_dir) if 'acc/top1' in line][-1]
    done = run_tool(
        'tools/test.py',
        CONFIG,
        work_dir / f'epoch_{EPOCHS}.pth',
        '--work-dir',
        tmp_path,
        '--dump',
        tmp_path / 'scores.pkl',
        '--show-dir',
        tmp_path / 'shown',
        '--interval',
        8,
        *small(quickstart_data, 'test_dataloader.batch_size=6'),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    metrics = metrics_of(tmp_path)
    for key in ('acc/top1', 'acc/top5', 'acc/mean1'):
        assert metrics[key] == validated[key]

    results = pickle.loads((tmp_path / 'scores.pkl').read_bytes())
    right = [int(r['pred_score'].argmax()) == int(r['gt_label']) for r in results]
    assert len(right) == 16
    assert sum(right) / len(right) == pytest.approx(metrics['acc/top1'])
    shown = list((tmp_path / 'shown').rglob('*.png'))
    assert len(shown) == 2 * 16  # videos 0 and 8, 16 frames each


def test_two_processes_on_the_cpu_train_and_test(quickstart_data, tmp_path, forks):
    env = {**os.environ, 'PYTHON': str(forks), 'OMP_NUM_THREADS': '1'}

    def run(*args):
        done = subprocess.run(
            ['bash', *map(str, args)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            env={**env, 'PORT': str(free_port())},
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return done.stdout + done.stderr

    options = small(quickstart_data, 'train_cfg.max_epochs=1')
    log = run('tools/dist_train.sh', CONFIG, 2, '--work-dir', tmp_path, '--verbose', *options)
    assert 'Distributed training: True' in log and 'GPU number: 2' in log
    checkpoint = tmp_path / 'epoch_1.pth'
    # 32 videos, 2 processes, 4 videos a step
    steps = [line for line in logged(tmp_path) if 'loss' in line]
    assert steps[-1]['iter'] == 4
    log = run(
        'tools/dist_test.sh', CONFIG, checkpoint, 2, '--work-dir', tmp_path / 'test', *options
    )
    metrics = metrics_of(tmp_path / 'test')
    validated = [line for line in logged(tmp_path) if 'acc/top1' in line][-1]
    assert metrics['acc/top1'] == validated['acc/top1']


def test_train_flags_reach_the_runner(quickstart_data, tmp_path):
    done = run_tool(
        'tools/train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        '--amp',
        '--no-validate',
        '--auto-scale-lr',
        '--seed',
        7,
        '--diff-rank-seed',
        '--deterministic',
        *small(
            quickstart_data,
            'train_cfg.max_epochs=1',
            'optim_wrapper.optimizer.lr=0.001',
            'auto_scale_lr.base_batch_size=8',
        ),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cfg = Config.fromfile(next(tmp_path.glob('*.py')))
    assert 'AmpOptimWrapper' in cfg.optim_wrapper.type
    assert cfg.randomness == dict(seed=7, diff_rank_seed=True, deterministic=True)
    lines = logged(tmp_path)
    assert not any('acc/top1' in line for line in lines)
    # 4 videos a step instead of 8: half the learning rate at its highest
    assert max(line['lr'] for line in lines) <= 0.0005 + 1e-9


@pytest.mark.parametrize(
    'config, options, words',
    [
        (
            'configs/mobilenet_convlstm_ucf101.py',
            ['split=3'],
            ['data/nowhere/ucf101_train_split_3_videos.txt', 'crcv.ucf.edu'],
        ),
        (
            'configs/mobilenet_lstm_kinetics400.py',
            [],
            ['kinetics400_train_list_videos.txt', 'cvdfoundation'],
        ),
    ],
)
def test_missing_data_is_named_with_its_cure(config, options, words, tmp_path):
    if 'ucf101' in config:
        options = [
            *options,
            'train_dataloader.dataset.ann_file=data/nowhere/ucf101_train_split_3_videos.txt',
        ]
    started = run_tool(
        'tools/train.py',
        config,
        '--work-dir',
        tmp_path,
        *(['--cfg-options', *options] if options else []),
    )
    assert started.returncode == 2 and 'Traceback' not in started.stderr
    assert all(word in started.stderr for word in words), started.stderr
    assert not list(tmp_path.iterdir()), 'no runner may have been built'


def test_missing_pretrained_weights_are_named(quickstart_data, tmp_path):
    done = run_tool(
        'tools/train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        *small(
            quickstart_data,
            'model.backbone.backbone.init_cfg.type=Pretrained',
            'model.backbone.backbone.init_cfg.checkpoint=checkpoints/absent.pth',
        ),
    )
    assert done.returncode != 0
    assert 'checkpoints/absent.pth' in done.stderr


def test_split_is_one_variable():
    from argparse import Namespace

    from cnnlstm_mm.engine.launch import load_config

    args = Namespace(
        config=str(ROOT / 'configs/mobilenet_lstm_ucf101.py'),
        cfg_options=dict(split=2),
        launcher='none',
        work_dir=None,
        local_rank=0,
    )
    cfg = load_config(args)
    assert 'CNNLSTM_MM_SPLIT' not in os.environ, 'the next config in this process would read it'
    assert cfg.split == 2 and cfg.work_dir.endswith('_split2')
    for mode, part in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        assert (
            cfg[f'{mode}_dataloader'].dataset.ann_file
            == f'data/ucf101/ucf101_{part}_split_2_videos.txt'
        )
