"""Some of what benchmarks/fuzz.py feeds in, and that its judge can judge."""

from pathlib import Path

import pytest

pytest.importorskip('hypothesis', reason='the fuzzing needs hypothesis')
from helpers.fuzzing.campaign import run
from helpers.fuzzing.child import Child
from helpers.fuzzing.judge import Fault, judged

pytestmark = pytest.mark.slow

COUNTS = dict(
    configs=60,
    lists=50,
    checkpoints=20,
    states=40,
    videos=20,
    containers=20,
    archives=40,
    tables=40,
)


@pytest.fixture(scope='module')
def child():
    with Child() as process:
        yield process


@pytest.mark.parametrize('kind', COUNTS)
def test_no_crash_no_hang_no_silence(child, kind):
    verdicts, faults = run(child, kind, COUNTS[kind], 0)
    assert not faults, faults[:3]
    assert verdicts['refused'] > 5 and verdicts['accepted'] > 0


def test_the_judge_can_tell():
    from cnnlstm_mm.options import check_int

    def verdict(function, *words):
        return judged(lambda case, place: (words, function), None, Path())[0]

    def fault():
        raise Fault('not finite')

    assert verdict(lambda: None) == 'accepted'
    assert verdict(lambda: check_int(size='x'), 'size') == 'refused'
    assert verdict(lambda: check_int(size='x'), 'other') == 'fault'
    assert verdict(lambda: int('x')) == 'fault'  # not in words of ours
    assert verdict(lambda: [][0]) == 'fault'
    assert verdict(fault) == 'fault'


def test_a_crash_and_a_hang_are_seen(child, monkeypatch):
    name = 'breaks'
    monkeypatch.setattr('helpers.fuzzing.child.LIMIT', 1.0)
    assert child.ask(name, 'hang')[0] == 'hang'
    monkeypatch.setattr('helpers.fuzzing.child.LIMIT', 60.0)
    assert child.ask(name, 'crash') == ('crash', 'the process ended (-11)')
    assert child.ask('lists', (b'a.avi 0', ' ', False))[0] == 'accepted'
