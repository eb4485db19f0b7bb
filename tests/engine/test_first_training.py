"""Trainings that start from those of another config."""

import sys

import pytest
import torch
from helpers.support import ROOT, run_tool
from mmengine.config import Config, DictAction

from cnnlstm_mm.commands.train import argument_parser, merge_args
from cnnlstm_mm.engine.first_training import apply_first_training

STAND_IN = """
import sys
from pathlib import Path
work = Path(sys.argv[sys.argv.index('--work-dir') + 1])
work.mkdir(parents=True, exist_ok=True)
(work / 'call').write_text(' '.join(sys.argv[1:]))
(work / 'last_checkpoint').write_text(f'/moved/{work.name}/epoch_3.pth')
"""


@pytest.fixture
def command(tmp_path):
    script = tmp_path / 'train.py'
    script.write_text(STAND_IN)
    (tmp_path / 'first.py').write_text('')
    (tmp_path / 'second.py').write_text("starts_from = 'first.py'")
    return [sys.executable, str(script)]


def config(tmp_path, **kwargs):
    cfg = Config.fromfile(tmp_path / 'second.py')
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), **kwargs))
    return cfg


@pytest.mark.parametrize('resume', [False, True])
def test_the_first_is_trained_and_its_weights_loaded(command, tmp_path, resume):
    cfg = config(tmp_path, randomness=dict(seed=7), resume=resume)
    apply_first_training(cfg, command)
    folder = tmp_path / 'work/starts_from'
    call = (folder / 'call').read_text()
    assert call == f'{tmp_path}/first.py --resume --work-dir {folder} --seed 7'
    # A resume without a checkpoint begins, and mmengine would resume the weights of load_from.
    assert (cfg.load_from, cfg.resume) == (str(folder / 'epoch_3.pth'), False)


def test_the_first_has_its_own_options(command, tmp_path):
    """As run_benchmark.py --folds holds clips back from both trainings."""
    options = {'first_options.rows.train': [0, 2], 'first_options.rows.test': [1], 'rows': 'mine'}
    apply_first_training(config(tmp_path, **options), command)
    call = (tmp_path / 'work/starts_from/call').read_text()
    assert call.endswith(' --cfg-options rows.train=[0, 2] rows.test=[1]')
    read = DictAction(['--cfg-options'], 'x')._parse_iterable('[0, 2]')
    assert read == [0, 2]


def test_nothing_is_trained_that_is_not_needed(command, tmp_path):
    given = config(tmp_path, load_from='weights.pth')
    apply_first_training(given, command)
    assert given.load_from == 'weights.pth'
    plain = Config(dict(work_dir=str(tmp_path / 'work')))
    apply_first_training(plain, command)
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/last_checkpoint').write_text('epoch_1.pth')
    begun = config(tmp_path, resume=True)
    apply_first_training(begun, command)
    assert begun.resume and 'load_from' not in begun
    assert not (tmp_path / 'work/starts_from').exists()


def test_what_cannot_be_done_is_named(command, tmp_path):
    with pytest.raises(ValueError, match='expected one process, got --launcher pytorch; fix: '):
        apply_first_training(config(tmp_path, launcher='pytorch'), command)
    with pytest.raises(FileNotFoundError, match='expected a config file, got .*other.py'):
        apply_first_training(config(tmp_path, starts_from='other.py'), command)
    with pytest.raises(RuntimeError, match='first.py, got an error'):
        apply_first_training(config(tmp_path), [sys.executable, '-c', 'import sys; sys.exit(1)'])


def test_a_resume_that_finds_nothing_starts_from_load_from(tmp_path):
    """As run_benchmark.py starts its trainings, the first time and after a kill."""
    args = argument_parser().parse_args(['config.py', '--resume'])
    cfg = Config(dict(load_from='weights.pth', work_dir=str(tmp_path)))
    merge_args(cfg, args)
    assert cfg.load_from == 'weights.pth' and not cfg.get('resume')
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    merge_args(cfg, args)
    assert cfg.load_from is None and cfg.resume


@pytest.mark.slow
def test_both_trainings_of_a_recipe(tmp_path, monkeypatch):
    """On drawn clips alone: the second loads all that the first learnt, and resumes by itself."""
    monkeypatch.chdir(ROOT)
    base = f"_base_ = '{ROOT}/configs/mobilenet_lstm_gestures.py'\n"
    small = (
        'train_cfg = dict(max_epochs=1)\n'
        'train_dataloader = dict(dataset=dict(length=32), num_workers=0)\n'
        'val_dataloader = dict(dataset=dict(length=16), num_workers=0)\n'
    )
    (tmp_path / 'first.py').write_text(base + small)
    frozen = 'optim_wrapper = dict(optimizer=dict(lr=0.0))\n'
    (tmp_path / 'second.py').write_text(base + small + frozen + "starts_from = 'first.py'\n")
    work = tmp_path / 'work'
    for resume in ([], ['--resume']):
        args = [tmp_path / 'second.py', '--seed', 0, '--work-dir', work, *resume]
        done = run_tool('tools/train.py', *args)
        assert done.returncode == 0, done.stdout + done.stderr
    first, second = (
        torch.load(folder / 'epoch_1.pth', weights_only=False)['state_dict']
        for folder in (work / 'starts_from', work)
    )
    weights = [name for name in first if 'running' not in name and 'num_batches' not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights)
