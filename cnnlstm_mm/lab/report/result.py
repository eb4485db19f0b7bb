"""Facts of a run, and the file that holds those of many."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cnnlstm_mm.storage import write_json


@dataclass
class RunResult:
    """The facts of one run; all of it can be written as JSON.

    Attributes:
        work_dir: Its directory's name.
        config: Path of the config file.
        data: Name of the data set.
        notes: What a reader of the result must know: a subset, another version of the config,
            another checkpoint, a file that cannot be read.
        split: Of the data set; 1 where there is one only.
        seed: None if it was not fixed.
        frames, resolution, protocol, backbone, neck, pretrain: See
            :mod:`cnnlstm_mm.lab.report.run_facts`.
        epochs: How many are saved, or iterations, see ``unit``.
        max_epochs: How many were asked for.
        unit: 'epochs' or 'iterations'.
        loss: The last one logged.
        seconds: Of training.
        top1, top5, mean_class: Shares; None if not tested.
        flops, params: Multiply-adds of a view; parameters.
        checkpoint, log: Names of the files.
        predictions: Path of the file that ``per_class`` comes from.
        per_class: Class name to share of its clips that are right.
    """

    work_dir: str
    config: str
    data: str
    notes: list[str]
    split: int
    seed: int | None
    frames: str
    resolution: str
    protocol: str
    backbone: str
    neck: str
    pretrain: str
    epochs: int
    max_epochs: int
    unit: str = 'epochs'
    loss: float | None = None
    seconds: float = 0.0
    top1: float | None = None
    top5: float | None = None
    mean_class: float | None = None
    flops: int | None = None
    params: int | None = None
    checkpoint: str | None = None
    log: str | None = None
    predictions: str | None = None
    per_class: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it is trained to the end and tested."""
        return self.epochs >= self.max_epochs and self.top1 is not None

    @property
    def state(self) -> str:
        """'finished', or what is missing."""
        if self.epochs < self.max_epochs:
            return f'{self.epochs} of {self.max_epochs} {self.unit}, unfinished'
        return 'finished' if self.top1 is not None else 'not tested'


@dataclass
class Curves:
    """What is drawn but not stored.

    Attributes:
        train: A dict for each logged iteration.
        val: A dict for each evaluated epoch.
        confusion: Clips, [true class, answer].
        classes: Their names.
    """

    train: list[dict]
    val: list[dict]
    confusion: np.ndarray | None = None
    classes: list[str] = field(default_factory=list)


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
            f'{path} is not what report.py --json wrote: {type(error).__name__}: {error}'
        ) from error
