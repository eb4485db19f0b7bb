"""Progress of a run, read from its work directory."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from cnnlstm_mm.storage import write_json

from .plan import Run

RECORD = 'benchmark.json'
PREDICTIONS = 'predictions.pkl'


@dataclass(frozen=True)
class RunState:
    """Progress of a run."""

    steps: int = 0  # saved epochs, or iterations, see Run.unit
    checkpoint: Path | None = None  # the newest one
    tested: bool = False  # the newest checkpoint was
    other: bool = False  # the directory holds a run of other settings

    def words(self, run: Run) -> str:
        """The state in the few words of a table."""
        if self.other:
            return 'other settings'
        if self.tested:
            return 'done'
        if self.steps >= run.length:
            return 'trained, to be tested'
        if self.steps:
            return f'{self.steps} of {run.length} {run.units}'
        return 'to do'


def saved_steps(work_dir: Path) -> RunState:
    """Read the newest checkpoint's number from ``last_checkpoint``."""
    last = work_dir / 'last_checkpoint'
    if not last.is_file():
        return RunState()
    checkpoint = Path(last.read_text().strip())
    if not checkpoint.is_file():  # the directory was moved
        checkpoint = work_dir / checkpoint.name
    number = re.search(r'(?:epoch|iter)_(\d+)', checkpoint.name)
    if number is None or not checkpoint.is_file():
        return RunState()
    return RunState(int(number[1]), checkpoint)


def read_state(run: Run) -> RunState:
    """Progress of a run; ``tested`` only with the predictions of the newest checkpoint."""
    record = read_record(run.work_dir)
    state = saved_steps(run.work_dir)
    if record.get('fingerprint', run.fingerprint) != run.fingerprint:
        return RunState(state.steps, state.checkpoint, other=True)
    tested = (
        state.checkpoint is not None
        and record.get('tested') == state.checkpoint.name
        and state.steps >= run.length
        and (run.work_dir / PREDICTIONS).is_file()
    )
    return RunState(state.steps, state.checkpoint, tested)


def read_record(work_dir: Path) -> dict:
    """Read what :func:`write_record` wrote; {} where it did not."""
    path = work_dir / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(run: Run, tested: str | None = None) -> None:
    """Note a directory's run, and the name of the checkpoint that was tested."""
    write_json(run.work_dir / RECORD, dict(fingerprint=run.fingerprint, tested=tested))
