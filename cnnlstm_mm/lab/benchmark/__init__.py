"""Lists of configs, run one after the other, for tools/run_benchmark.py."""

from .commands import Launch, commands
from .execution import Outcome, execute, stop_on_signals
from .plan import BenchmarkList, Run, plan_runs, read_benchmark
from .run_state import RunState, read_state

__all__ = [
    'BenchmarkList',
    'Launch',
    'Outcome',
    'Run',
    'RunState',
    'commands',
    'execute',
    'plan_runs',
    'read_benchmark',
    'read_state',
    'stop_on_signals',
]
