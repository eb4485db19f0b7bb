"""What a run is made of: compared when it is resumed, kept in what it writes."""

import json
import os
import pickle

import pytest
import torch
from helpers.distributed_jobs import trained
from helpers.support import run_tool
from helpers.toy_training import RUNS
from helpers.tree import snapshot
from mmengine.config import Config
from test_exact_resume import training

from cnnlstm_mm.engine.checkpoint_files import append_hash, newest_valid, save_checkpoint
from cnnlstm_mm.engine.dump_predictions import DumpPredictions, read_predictions
from cnnlstm_mm.run_identity import KEY, checkpoint_facts, differences, is_allowed, make_identity
from cnnlstm_mm.storage import locked


def config(folder, **changes):
    (folder / 'list.txt').write_text(changes.pop('list', 'a.mp4 0\n'))
    cfg = Config(
        dict(
            model=dict(type='Recognizer3D', cls_head=dict(num_classes=3)),
            train_dataloader=dict(
                batch_size=8,
                num_workers=2,
                dataset=dict(
                    type='CheckedVideoDataset',
                    ann_file=str(folder / 'list.txt'),
                    data_prefix=dict(video='videos'),
                    pipeline=[dict(type='Flip', flip_ratio=0.5)],
                ),
            ),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(logger=dict(interval=20), finite_loss=dict(action='stop')),
            train_cfg=dict(max_epochs=5),
            work_dir='here',
            randomness=dict(seed=3),
        )
    )
    cfg.merge_from_dict(changes)
    return cfg


@pytest.mark.parametrize(
    'changes, serious, harmless',
    [
        ({'optim_wrapper.optimizer.lr': 0.2}, ['optim_wrapper.optimizer.lr'], []),
        ({'model.cls_head.num_classes': 4}, ['model.cls_head.num_classes'], []),
        ({'default_hooks.finite_loss.action': 'skip'}, ['default_hooks.finite_loss.action'], []),
        ({'train_cfg.max_epochs': 4}, ['train_cfg.max_epochs'], []),
        ({'train_cfg.max_epochs': 9}, [], ['train_cfg.max_epochs']),
        ({'list': 'a.mp4 1\n'}, ['lists.train'], []),
        ({'randomness.seed': 4}, ['randomness.seed'], []),
        ({'randomness.seed': None}, [], ['randomness.seed']),
        (
            {
                'work_dir': 'there',
                'train_dataloader.num_workers': 4,
                'train_dataloader.dataset.data_prefix.video': 'elsewhere',
                'default_hooks.logger.interval': 1,
            },
            [],
            [
                'default_hooks.logger.interval',
                'train_dataloader.dataset.data_prefix.video',
                'train_dataloader.num_workers',
                'work_dir',
            ],
        ),
    ],
)
def test_each_difference_is_named(tmp_path, changes, serious, harmless):
    before = make_identity(config(tmp_path))
    now = make_identity(config(tmp_path, **changes))
    found = differences(json.loads(json.dumps(before)), now)
    assert [list(part) for part in found] == [serious, harmless]
    assert (now['id'] == before['id']) == (not serious and 'work_dir' in harmless)


def test_processes_share_a_batch(tmp_path):
    one, two = config(tmp_path), config(tmp_path, **{'train_dataloader.batch_size': 4})
    assert differences(make_identity(one, 1), make_identity(two, 2)) == ({}, {})
    assert list(differences(make_identity(one, 1), make_identity(two, 1))[0])


def test_a_part_of_a_name_allows_it():
    name = 'optim_wrapper.optimizer.lr'
    assert all(is_allowed(name, [key]) for key in ('lr', 'optimizer.lr', 'optim_wrapper', name))
    assert not any(is_allowed(name, [key]) for key in ('l', 'optim', 'lr.x', 'wrapper.optimizer'))


def test_another_config_is_resumed_only_if_told(tmp_path):
    trained(training(tmp_path, epochs=1))
    first = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['meta'][KEY]
    assert first['session'] == 1 and len(first['start_sha256']) == 64
    change = dict(epochs=2, resume=True, log_level='INFO')
    cfg = training(tmp_path, **change)
    cfg.optim_wrapper.optimizer.lr *= 2
    with pytest.raises(
        ValueError, match=r'(?s)optim_wrapper\.optimizer\.lr: .* --allow-changed optim'
    ):
        trained(cfg)
    assert not (tmp_path / 'epoch_2.pth').exists()
    cfg.allow_changed, cfg.experiment_name = ['lr'], f'allowed{next(RUNS)}'
    trained(cfg)
    second = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)['meta'][KEY]
    assert second['run'] == first['run'] and second['session'] == 2
    log = max(tmp_path.glob('*/*.log'), key=os.path.getsize).read_text()
    assert 'train_cfg.max_epochs: 1 in the checkpoint, 2 now' in log


def checkpoint(folder, step, run, session, time):
    path = folder / f'epoch_{step}.pth'
    identity = {KEY: dict(run=run, session=session)}
    save_checkpoint(dict(meta=identity, state_dict=dict(w=torch.zeros(2))), path)
    os.utime(path, (time, time))
    return path


def test_times_of_files_do_not_choose_a_checkpoint(tmp_path):
    """As after a copy, which gives all files the time of now, in any order."""
    last = checkpoint(tmp_path, 2, 'mine', 2, time=1000)
    checkpoint(tmp_path, 9, 'of an earlier training', 1, time=2000)
    checkpoint(tmp_path, 8, 'mine', 1, time=2000)  # before the run was taken up from epoch 1
    (tmp_path / 'last_checkpoint').write_text(str(last))
    assert newest_valid(str(tmp_path), 'epoch_{}.pth') == str(last)
    newer = checkpoint(tmp_path, 3, 'mine', 2, time=500)  # killed before it was named
    assert newest_valid(str(tmp_path), 'epoch_{}.pth') == str(newer)


def test_predictions_name_their_checkpoint(tmp_path):
    path = checkpoint(tmp_path, 1, 'mine', 1, time=1000)
    metric = DumpPredictions(str(tmp_path / 'out.pkl'))
    metric.facts = checkpoint_facts(path, torch.load(path, weights_only=True))
    samples = [dict(gt_label=torch.tensor([1]), pred_score=torch.eye(3)[1])]
    metric.compute_metrics(samples)
    with (tmp_path / 'out.pkl').open('rb') as file:
        assert pickle.load(file)[0]['gt_label'] == 1  # as before, for everyone else
    found, facts = read_predictions(tmp_path / 'out.pkl')
    assert len(found) == 1
    assert facts['checkpoint'] == 'epoch_1.pth' and facts['run'] == 'mine'
    (tmp_path / 'old.pkl').write_bytes(pickle.dumps(samples))
    assert read_predictions(tmp_path / 'old.pkl')[1] == {}
    assert append_hash(b'not a checkpoint') == b'not a checkpoint'


def test_two_trainings_in_one_folder(tmp_path):
    (tmp_path / 'epoch_1.pth').write_text('of the first')
    with locked(tmp_path, 'train'):
        before = snapshot(tmp_path)
        done = run_tool(
            'tools/train.py',
            'configs/mobilenet_convlstm_quickstart.py',
            '--work-dir',
            tmp_path,
            '--cfg-options',
            'data_root=absent',
        )
        assert done.returncode == 2
        assert f'in use by train (process {os.getpid()} on ' in done.stderr
        assert snapshot(tmp_path) == before
