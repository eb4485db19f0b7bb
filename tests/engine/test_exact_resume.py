"""Trainings that are left and taken up, in one process."""

import json
import os
import random

import numpy as np
import pytest
import torch
from helpers.distributed_jobs import CONV, NoiseDataset, config, recognizer, trained
from helpers.support import run_python
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from cnnlstm_mm.datasets.replacing import BrokenSampleError, ReplacingMixin
from cnnlstm_mm.datasets.resumable_loader import resumable
from cnnlstm_mm.engine import checkpoint_files as files
from cnnlstm_mm.engine.checkpoint_files import find_damage
from cnnlstm_mm.engine.launch import build_runner

NECK = dict(CONV, return_mode='sequence', tbptt_len=2, carry_prob=0.5, dropout=0.3)


class Draws(ReplacingMixin, NoiseDataset):
    """Random numbers of all three kinds; some samples are broken."""

    test_mode = False

    def __getitem__(self, k):
        return self.prepare_data(k)

    def read(self, k):
        if k % 5 == 1:
            raise BrokenSampleError(str(k), 'broken')
        return dict(k=k, draws=(random.random(), float(np.random.rand()), float(torch.rand(()))))

    def _mark(self, data, idx, broken):
        data['broken'] = broken


def batches(workers, epoch, first, seed=7, persistent=False):
    data = Draws(30)
    loader = resumable(
        DataLoader(
            data,
            batch_size=4,
            sampler=DefaultSampler(data, seed=3),
            num_workers=workers,
            collate_fn=list,
            persistent_workers=persistent,
        )
    )
    loader.sampler.set_epoch(epoch)
    for before in range(epoch if persistent else 0):
        loader.batch_sampler.start(seed, before)
        list(loader)
    loader.batch_sampler.start(seed, epoch, first)
    torch.rand(5)  # what was drawn before must not matter
    return list(loader)


def test_samples_depend_on_seed_and_place_alone():
    """Broken ones are replaced by the same others."""
    want = batches(0, 1, 0)
    assert len(want) == 8 and len(want[-1]) == 2
    assert any('broken' in sample for batch in want for sample in batch)
    draws = [draw for batch in want for sample in batch for draw in sample['draws']]
    assert len(set(draws)) == 3 * 30
    assert batches(2, 1, 0, persistent=True) == want
    for first in (1, 5, 8):
        assert batches(0, 1, first) == want[first:]
    assert batches(1, 1, 5) == want[5:]
    assert batches(0, 0, 0) != want and batches(0, 1, 0, seed=8) != want


def training(work_dir, epochs=3, validate=False, neck=NECK, **changes):
    """A config with checkpoints."""
    hook = dict(type='CheckpointHook', interval=1, **changes.pop('hook', {}))
    cfg = config(
        recognizer(neck), 1, work_dir, epochs=epochs, default_hooks=dict(checkpoint=hook), **changes
    )
    # Without workers the samples would seed the model as well.
    cfg.train_dataloader.num_workers = 1
    if validate:
        cfg.val_dataloader = dict(
            batch_size=8,
            num_workers=0,
            dataset=dict(type='NoiseDataset', size=10),
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
        cfg.val_cfg = dict(type='ValLoop')
        cfg.val_evaluator = dict(type='AccMetric')
    return cfg


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A training that ran through, with a checkpoint an epoch."""
    work_dir = tmp_path_factory.mktemp('whole')
    return work_dir, trained(training(work_dir))


def copied(whole, target, *steps):
    """Some of its checkpoints; the last is the last that was written."""
    for step in steps:
        name = f'epoch_{step}.pth'
        (target / name).write_bytes((whole[0] / name).read_bytes())
    (target / 'last_checkpoint').write_text(str(target / name))


def assert_goes_on(result, whole, iteration):
    assert result['losses'] == whole[1]['losses'][iteration:]
    for name, weight in whole[1]['weights'].items():
        assert torch.equal(result['weights'][name], weight), name


def test_validation_leaves_the_training_as_it_is(whole, tmp_path):
    assert_goes_on(trained(training(tmp_path, validate=True)), whole, 0)


def log(work_dir):
    return '\n'.join(path.read_text() for path in sorted(work_dir.glob('*/*.log')))


def test_a_broken_latest_one_is_left_out(whole, tmp_path):
    copied(whole, tmp_path, 1, 2)
    path = tmp_path / 'epoch_2.pth'
    path.write_bytes(path.read_bytes()[:-3000])
    result = trained(training(tmp_path, resume=True, log_level='INFO'))
    assert_goes_on(result, whole, 6)
    assert f'{path} is damaged' in log(tmp_path)
    assert find_damage(str(path)) is None, 'it has been written again'


def test_a_named_damaged_one_is_refused(whole, tmp_path):
    copied(whole, tmp_path, 1)
    path = tmp_path / 'epoch_1.pth'
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    for resume in (True, False):
        with pytest.raises(RuntimeError, match=f'{path} is damaged.*--resume'):
            trained(training(tmp_path, resume=resume, load_from=str(path)))


def test_checkpoints_of_earlier_versions_are_resumed(whole, tmp_path):
    copied(whole, tmp_path, 2)
    path = tmp_path / 'epoch_2.pth'
    old = torch.load(path, weights_only=True)
    del old['exact_resume'], old['broken_videos']
    torch.save(old, path)
    result = trained(training(tmp_path, resume=True, log_level='INFO'))
    # Of the end of an epoch, and with the seed in it: the same even so.
    assert_goes_on(result, whole, 12)
    assert 'has no hash' in log(tmp_path)
    assert 'lacks its position in the epoch' in log(tmp_path)


def test_a_seed_that_was_drawn_is_kept(tmp_path):
    first = trained(training(tmp_path, randomness=dict(seed=None)))
    (tmp_path / 'epoch_3.pth').unlink()
    (tmp_path / 'last_checkpoint').unlink()
    result = trained(training(tmp_path, randomness=dict(seed=None), resume=True))
    assert_goes_on(result, (None, first), 12)


@pytest.mark.slow
def test_a_validation_that_was_killed_is_made_up_for(whole, tmp_path, monkeypatch):
    through = training(tmp_path / 'a', validate=True, hook=dict(save_best='auto'))
    trained(through)

    def killed(self, *args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mmengine.runner.ValLoop.run_iter', killed)
        with pytest.raises(KeyboardInterrupt):
            trained(training(tmp_path / 'b', validate=True, hook=dict(save_best='auto')))
    trained(training(tmp_path / 'b', validate=True, resume=True, hook=dict(save_best='auto')))
    histories = []
    for name in 'ab':
        hub = torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)['message_hub']
        histories.append(hub['log_scalars']['val/acc/top1']._log_history.tolist())
        assert sorted(path.name for path in (tmp_path / name).glob('best*')) == sorted(
            path.name for path in (tmp_path / 'a').glob('best*')
        )
    # The last one has been validated after its checkpoint was written.
    assert histories[0] == histories[1] and len(histories[0]) >= 2


def test_another_number_of_samples_is_said(whole, tmp_path):
    copied(whole, tmp_path, 1)
    cfg = training(tmp_path, resume=True, batch=4, log_level='INFO', allow_changed=['batch_size'])
    assert len(trained(cfg)['losses']) == 2 * 11
    assert '8 samples an iteration and 6 iterations an epoch; this run has 1, 4 and 11' in log(
        tmp_path
    )


def fail_from(monkeypatch, word):
    """The disk is full where a file of this name is written."""
    real = files.os.fsync

    def fsync(handle):
        if word in os.readlink(f'/proc/self/fd/{handle}'):
            raise OSError(28, 'No space left on device')
        real(handle)

    monkeypatch.setattr(files.os, 'fsync', fsync)


def test_a_full_disk_ends_the_run_and_leaves_the_last_one(whole, tmp_path, monkeypatch):
    keep_one = dict(hook=dict(max_keep_ckpts=1))
    with monkeypatch.context() as patch:
        fail_from(patch, 'epoch_2.pth')
        with pytest.raises(OSError, match='epoch_2.pth(.|\n)*No space left(.|\n)*--resume'):
            trained(training(tmp_path, **keep_one))
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['epoch_1.pth']
    assert not list(tmp_path.glob('.*.part'))
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    result = trained(training(tmp_path, resume=True, **keep_one))
    assert_goes_on(result, whole, 6)
    assert sorted(p.name for p in tmp_path.glob('*.pth')) == ['epoch_3.pth']


def test_the_best_is_there_until_a_better_one_is(tmp_path, monkeypatch):
    class Rising:
        """Each epoch is better than the one before."""

        calls = 0

        def __call__(self, *args):
            Rising.calls += 1
            return {'acc/top1': Rising.calls / 100}

    monkeypatch.setattr('mmengine.evaluator.Evaluator.evaluate', Rising())
    best = dict(hook=dict(save_best='auto', max_keep_ckpts=1), validate=True)
    with monkeypatch.context() as patch:
        fail_from(patch, 'best_acc_top1_epoch_2.pth')
        with pytest.raises(OSError, match='No space left'):
            trained(training(tmp_path, **best))
    assert [p.name for p in tmp_path.glob('best*')] == ['best_acc_top1_epoch_1.pth']
    trained(training(tmp_path, resume=True, **best))
    assert [p.name for p in tmp_path.glob('best*')] == ['best_acc_top1_epoch_3.pth']


def test_what_was_half_written_is_removed(whole, tmp_path):
    copied(whole, tmp_path, 1, 2)
    part = tmp_path / '.epoch_3.pth.4711.part'
    part.write_bytes(b'PK')
    # Killed before the oldest could be removed: it is in the list of the
    # newest, as one too many.
    trained(training(tmp_path, resume=True, hook=dict(max_keep_ckpts=1)))
    assert not part.exists()


def test_killed_after_writing_and_before_removing(tmp_path, monkeypatch):
    keep_one = dict(hook=dict(max_keep_ckpts=1))
    from cnnlstm_mm.engine import verified_checkpoint_hook as hook

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hook.os, 'remove', killed)
        with pytest.raises(KeyboardInterrupt):
            trained(training(tmp_path, **keep_one))
    assert len(list(tmp_path.glob('epoch_*.pth'))) == 2
    trained(training(tmp_path, resume=True, **keep_one))
    assert [p.name for p in tmp_path.glob('epoch_*')] == ['epoch_3.pth']


def test_other_loops_and_hooks_are_left_alone(tmp_path):
    cfg = training(tmp_path)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=2)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.default_hooks.checkpoint.update(by_epoch=False)
    runner = build_runner(cfg, ['train'])
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    runner.train()
    assert find_damage(str(tmp_path / 'iter_2.pth')) is None


@pytest.mark.slow
def test_killed_at_random_and_resumed(tmp_path, forks):
    """The script with few kills; the README has the table of fifty."""
    done = run_python(
        'benchmarks/kill_and_resume.py',
        '--kills',
        2,
        '--epochs',
        2,
        '--work-dir',
        tmp_path / 'work',
        '--json',
        tmp_path / 'kills.json',
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    result = json.loads((tmp_path / 'kills.json').read_text())
    assert len(result['kills']) == 2 and result['differences'] == []
    assert 'all equal' in done.stdout
