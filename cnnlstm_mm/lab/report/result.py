"""Facts of a run, and the file that holds those of many."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cnnlstm_mm.storage import write_json

# Metrics that a run is judged by, in this order: one label per video, or several.
SCORES = ('acc/top1', 'acc/mean_average_precision', 'acc/mmit_mean_average_precision')


@dataclass
class RunResult:
    """The facts of one run; all of it can be written as JSON. None stands for what is not known."""

    work_dir: str  # name of its directory
    config: str  # path of the config file
    data: str  # name of the data set
    notes: list[str]  # a subset, another version of the config, a file that cannot be read, ...
    split: int  # of the data set; 1 where there is one only
    seed: int | None
    frames: str  # see cnnlstm_mm.lab.report.run_facts
    resolution: str
    protocol: str
    backbone: str
    neck: str
    pretrain: str
    epochs: int  # saved ones; or iterations, see unit
    max_epochs: int
    unit: str = 'epochs'
    loss: float | None = None  # the last one logged
    seconds: float = 0.0  # of training
    top1: float | None = None  # shares; None if not tested
    top5: float | None = None
    mean_class: float | None = None
    mean_ap: float | None = None  # of several labels per video
    flops: int | None = None  # multiply-adds of a view
    params: int | None = None
    checkpoint: str | None = None  # names of files
    log: str | None = None
    predictions: str | None = None  # path of the file that per_class comes from
    run: str | None = None  # its identity, see cnnlstm_mm.run_identity
    recipe: str | None = None  # hash of what runs of other seeds and splits share
    code: str | None = None  # version of the package that trained it last
    # SHA-256 of lists and weights by name; None for runs of earlier versions, which do not say.
    made_of: dict[str, str] | None = None
    # Share of right clips by class, or average precision.
    per_class: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it is trained to the end and tested."""
        return self.epochs >= self.max_epochs and self.tested

    @property
    def tested(self) -> bool:
        """Whether it has a top-1 accuracy or a mean average precision."""
        return self.top1 is not None or self.mean_ap is not None

    @property
    def state(self) -> str:
        """'finished', or what is missing."""
        if self.epochs < self.max_epochs:
            return f'{self.epochs} of {self.max_epochs} {self.unit}, unfinished'
        return 'finished' if self.tested else 'not tested'


@dataclass
class Curves:
    """Curves of a run, which are drawn but not stored."""

    train: list[dict]  # one for each logged iteration
    val: list[dict]  # one for each evaluated epoch
    confusion: np.ndarray | None = None  # clips [true class, answer]
    classes: list[str] = field(default_factory=list)  # their names


def save_results(path: Path, runs: list[RunResult], planned: list[dict]) -> None:
    """Write the facts of runs, and the lists that are not yet run, as JSON."""
    write_json(path, dict(runs=[asdict(run) for run in runs], planned=planned), indent=1)


def load_results(path: Path) -> tuple[list[RunResult], list[dict]]:
    """Read the file of :func:`save_results`.

    Raises:
        ValueError: If the file holds anything else; with its path.
    """
    try:
        content = json.loads(path.read_text())
        return [RunResult(**run) for run in content['runs']], content['planned']
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'expected a file of report.py --json, got {path} ({type(error).__name__}: {error})'
        ) from error
