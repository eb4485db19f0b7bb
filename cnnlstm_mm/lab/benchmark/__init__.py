"""Lists of configs, run one after the other, for cnnlstm-mm benchmark."""

from .commands import Launch, commands
from .execution import Outcome, execute, stop_on_signals
from .folds import GROUP, fold_table
from .plan import BenchmarkList, Run, plan_runs, read_benchmark
from .run_state import RunState, read_state

__all__ = [
    'GROUP',
    'BenchmarkList',
    'Launch',
    'Outcome',
    'Run',
    'RunState',
    'commands',
    'execute',
    'fold_table',
    'plan_runs',
    'read_benchmark',
    'read_state',
    'stop_on_signals',
]
