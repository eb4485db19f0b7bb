"""Tables, plots and a page from work directories, for cnnlstm-mm report."""

from .page import write_page
from .read import read_run
from .result import Curves, RunResult, load_results, save_results
from .rows import Row, group_runs
from .tables import check_readme, results_tables, runs_table, write_metafile, write_readme

__all__ = [
    'Curves',
    'Row',
    'RunResult',
    'check_readme',
    'group_runs',
    'load_results',
    'read_run',
    'results_tables',
    'runs_table',
    'save_results',
    'write_metafile',
    'write_page',
    'write_readme',
]
