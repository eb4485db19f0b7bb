"""Steps that tools/train.py and tools/test.py apply to a config."""

import re

import pytest
from helpers.support import ROOT
from mmengine.config import Config

from cnnlstm_mm.engine import launch


@pytest.mark.parametrize('given', [None, {}, dict(timer=dict(type='IterTimerHook'))])
def test_a_config_without_checkpoint_hook_gets_the_verified_one(given):
    cfg = Config(dict(train_cfg=dict(by_epoch=True, max_epochs=1), default_hooks=given))
    launch.apply_default_hooks(cfg)
    launch.apply_exact_resume(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='VerifiedCheckpointHook', interval=1)
    assert cfg.train_cfg == dict(type='ExactEpochBasedTrainLoop', max_epochs=1)
    assert list(cfg.default_hooks)[: len(given or {})] == list(given or {})
    assert set(launch.DEFAULT_HOOKS) < set(cfg.default_hooks)


def test_scopes_in_types_hide_neither_loop_nor_hook():
    cfg = Config(
        dict(
            train_cfg=dict(type='mmengine.EpochBasedTrainLoop', max_epochs=1),
            default_hooks=dict(checkpoint=dict(type='mmengine.CheckpointHook', interval=2)),
        )
    )
    launch.apply_exact_resume(cfg)
    assert cfg.train_cfg == dict(type='ExactEpochBasedTrainLoop', max_epochs=1)
    assert cfg.default_hooks.checkpoint == dict(type='VerifiedCheckpointHook', interval=2)


def test_hooks_of_the_config_stay():
    hooks = dict(
        memory=None, finite_loss=dict(type='FiniteLossHook', action='skip'), checkpoint=None
    )
    cfg = Config(dict(default_hooks=hooks))
    launch.apply_default_hooks(cfg)
    launch.apply_exact_resume(cfg)
    assert {name: cfg.default_hooks[name] for name in hooks} == hooks


def test_every_step_is_listed_once_in_its_order():
    source = (ROOT / 'cnnlstm_mm/engine/launch.py').read_text()
    body = source.partition('def build_runner')[2].partition('\ndef ')[0]
    numbers = re.findall(r'# (\d+)\.', body)
    assert len(numbers) >= 12 and numbers == [str(k + 1) for k in range(len(numbers))]
    steps = re.findall(r'^def ((?:check|apply)_\w+)', source, re.M)
    assert steps
    for step in steps:
        assert len(re.findall(rf'    {step}\(', body)) == 1, step
