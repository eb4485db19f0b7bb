"""When a run keeps its freed memory and when it returns it."""

import pytest
from mmengine.config import Config
from torch import nn

from cnnlstm_mm.engine import MemoryHook, memory_hook
from cnnlstm_mm.engine.launch import build_runner


@pytest.fixture
def calls(monkeypatch):
    """The calls of the C library, in their order."""
    made = []
    monkeypatch.setattr(memory_hook, 'keep_freed_memory', lambda: made.append('keep') or True)
    monkeypatch.setattr(memory_hook, 'return_freed_memory', lambda: made.append('return') or True)
    return made


class FakeRunner:
    def __init__(self, device):
        self.model = nn.Linear(2, 2, device=device)


def test_kept_on_a_cpu_and_returned_before_each_epoch(calls):
    hook, runner = MemoryHook(), FakeRunner('cpu')
    hook.before_run(runner)
    assert calls == ['keep']
    hook.before_train_epoch(runner)
    hook.before_val_epoch(runner)
    hook.before_test_epoch(runner)
    assert calls == ['keep'] + 3 * ['return']


def test_elsewhere_nothing_is_done(calls):
    hook, runner = MemoryHook(), FakeRunner('meta')
    hook.before_run(runner)
    hook.before_train_epoch(runner)
    assert calls == []


def test_nothing_is_returned_where_nothing_was_kept(calls, monkeypatch):
    monkeypatch.setattr(memory_hook, 'keep_freed_memory', lambda: False)
    hook, runner = MemoryHook(), FakeRunner('cpu')
    hook.before_run(runner)
    hook.before_train_epoch(runner)
    assert calls == []


def test_the_tools_add_it(calls, tmp_path):
    cfg = Config(
        dict(
            default_scope='mmaction',
            work_dir=str(tmp_path),
            model=dict(type='TimeDistributed', backbone=dict(type='MobileNetV2', widen_factor=0.1)),
        )
    )
    runner = build_runner(cfg, [])
    assert [type(hook) for hook in runner.hooks].count(MemoryHook) == 1
