"""How far a run has come, from what it left in its work directory."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from .plan import Run

RECORD = 'benchmark.json'
PREDICTIONS = 'predictions.pkl'


@dataclass(frozen=True)
class RunState:
    """How far a run has come.

    Args:
        epochs (int): Epochs that are saved.
        checkpoint (Path, optional): The newest one.
        tested (bool): Whether that one was tested as well.
        other (bool): Whether the directory holds a run of other settings.
    """

    epochs: int = 0
    checkpoint: Path | None = None
    tested: bool = False
    other: bool = False

    def words(self, run: Run) -> str:
        """Say it, in the few words of a table."""
        if self.other:
            return 'other settings'
        if self.tested:
            return 'done'
        if self.epochs >= run.max_epochs:
            return 'trained, to be tested'
        if self.epochs:
            return f'{self.epochs} of {run.max_epochs} epochs'
        return 'to do'


def saved_epochs(work_dir: Path) -> RunState:
    """Read the newest checkpoint's number from ``last_checkpoint``."""
    last = work_dir / 'last_checkpoint'
    if not last.is_file():
        return RunState()
    checkpoint = Path(last.read_text().strip())
    if not checkpoint.is_file():  # the directory was moved
        checkpoint = work_dir / checkpoint.name
    number = re.search(r'epoch_(\d+)', checkpoint.name)
    if number is None or not checkpoint.is_file():
        return RunState()
    return RunState(int(number[1]), checkpoint)


def read_state(run: Run) -> RunState:
    """Say how far a run has come.

    Args:
        run (Run): The run.

    Returns:
        RunState: Its state; ``tested`` only if the predictions of the newest
        checkpoint are there.
    """
    record = read_record(run.work_dir)
    state = saved_epochs(run.work_dir)
    if record.get('fingerprint', run.fingerprint) != run.fingerprint:
        return RunState(state.epochs, state.checkpoint, other=True)
    tested = (
        state.checkpoint is not None
        and record.get('tested') == state.checkpoint.name
        and state.epochs >= run.max_epochs
        and (run.work_dir / PREDICTIONS).is_file()
    )
    return RunState(state.epochs, state.checkpoint, tested)


def read_record(work_dir: Path) -> dict:
    """Read what :func:`write_record` wrote; {} where it did not."""
    path = work_dir / RECORD
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(run: Run, tested: str | None = None) -> None:
    """Note what a directory's run is, and which checkpoint was tested.

    Args:
        run (Run): The run.
        tested (str, optional): Name of the checkpoint. Defaults to None.
    """
    run.work_dir.mkdir(parents=True, exist_ok=True)
    record = dict(fingerprint=run.fingerprint, tested=tested)
    part = run.work_dir / f'{RECORD}.part'
    part.write_text(json.dumps(record))
    part.replace(run.work_dir / RECORD)
