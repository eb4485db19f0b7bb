"""A training that is resumed with more epochs than its schedule has."""

import math
import re
import shutil

import pytest
from helpers.list_matrix import prepare
from helpers.support import run_tool
from mmengine.config import Config

from cnnlstm_mm.engine.schedule_hook import extend_schedule

RATES = re.compile(r'Epoch\(train\).* lr: (\S+)')


def schedule(epochs, by_iteration):
    both = dict(by_epoch=True, convert_to_iter_based=by_iteration)
    warm_up = dict(type='LinearLR', start_factor=0.1, begin=0, end=1, **both)
    cosine = dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, **both)
    return [warm_up, cosine] if by_iteration else [cosine]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return prepare('path label', tmp_path_factory.mktemp('schedule') / 'place')


def train(place, work, epochs, by_iteration, *options):
    """Train; the learning rates in the log, and the whole log."""
    cfg = Config.fromfile(place.config)
    cfg.param_scheduler = schedule(epochs, by_iteration)
    cfg.train_cfg.max_epochs = epochs
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_dataloader.batch_size = 3
    cfg.dump(work.parent / 'own.py')
    args = (work.parent / 'own.py', '--work-dir', work, '--verbose', *options)
    done = run_tool('tools/train.py', *args)
    assert done.returncode == 0, done.stderr[-3000:]
    log = done.stdout + done.stderr
    return [float(rate) for rate in RATES.findall(log)], log


@pytest.mark.parametrize('by_iteration', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_longer_training_says_so_or_stretches_its_schedule(place, tmp_path, by_iteration):
    _, log = train(place, tmp_path / 'work', 2, by_iteration)
    assert 'schedule ends' not in log
    shutil.copytree(tmp_path / 'work', tmp_path / 'stretched')
    longer = ('--resume', '--cfg-options', 'train_cfg.max_epochs=4')
    rates, log = train(place, tmp_path / 'work', 2, by_iteration, *longer)
    assert len(set(rates)) == 1
    words = 'ends after 4 of 8 iterations' if by_iteration else 'ends after 2 of 4 epochs'
    assert words in log and '--extend-schedule' in log
    stretch = ('--extend-schedule', *longer)
    rates, log = train(place, tmp_path / 'stretched', 2, by_iteration, *stretch)
    # The cosine of 4 epochs of 2 iterations, from the place that the checkpoint has reached.
    steps = range(4, 8) if by_iteration else (4, 4, 6, 6)
    wanted = [0.005 * (1 + math.cos(math.pi * step / 8)) for step in steps]
    assert rates == pytest.approx(wanted, rel=1e-4) and 'schedule ends' not in log


@pytest.mark.slow
def test_the_time_left_is_that_of_the_epochs_left(place, tmp_path):
    """Fewer and larger batches after a resume: mmengine's count of iterations lies behind."""
    train(place, tmp_path / 'work', 3, True)
    larger = ('train_cfg.max_epochs=4', 'train_dataloader.batch_size=6')
    resume = ('--resume', '--allow-changed', 'batch_size', '--cfg-options', *larger)
    _, log = train(place, tmp_path / 'work', 3, True, *resume)
    assert 'Epoch(train) [4]' in log and '-1 day' not in log


def test_only_what_ends_last_is_stretched():
    cfg = Config(dict(train_cfg=dict(max_epochs=8), param_scheduler=schedule(5, True)))
    cfg.param_scheduler.append(dict(type='MultiStepLR', milestones=[2], by_epoch=True))
    extend_schedule(cfg)
    warm_up, cosine, steps = cfg.param_scheduler
    assert warm_up == schedule(5, True)[0] and steps.milestones == [2]
    assert (cosine.T_max, cosine.end) == (8, 8)
    for given in (None, dict(one=schedule(5, True))):
        with pytest.raises(ValueError, match='expected a list of schedulers'):
            extend_schedule(Config(dict(train_cfg=dict(max_epochs=8), param_scheduler=given)))
