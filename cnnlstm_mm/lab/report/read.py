"""What a run left in its work directory."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from cnnlstm_mm.config import datasets_of, read_labels
from cnnlstm_mm.datasets.annotation_list import read_list
from cnnlstm_mm.features.sequence_file import ArrayUnpickler

from . import run_facts

MAX_CHANGES = 3  # settings that a note names


@dataclass
class RunResult:
    """The facts of one run; all of it can be written as JSON.

    Args:
        work_dir (str): Its directory's name.
        config (str): Path of the config file.
        data (str): Name of the data set.
        notes (list[str]): What a reader of the result must know: a subset,
            another version of the config, another checkpoint.
        split (int): Of the data set; 1 where there is one only.
        seed (int, optional): None if it was not fixed.
        frames, resolution, protocol, backbone, neck, pretrain (str): See
            :mod:`cnnlstm_mm.lab.report.run_facts`.
        epochs (int): How many are saved.
        max_epochs (int): How many were asked for.
        loss (float, optional): The last one logged.
        seconds (float): Of training.
        top1, top5, mean_class (float, optional): Shares; None if not tested.
        flops, params (int, optional): Multiply-adds of a view; parameters.
        checkpoint, log (str, optional): Names of the files.
        per_class (dict): Class name to share of its clips that are right.
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
    loss: float | None = None
    seconds: float = 0.0
    top1: float | None = None
    top5: float | None = None
    mean_class: float | None = None
    flops: int | None = None
    params: int | None = None
    checkpoint: str | None = None
    log: str | None = None
    per_class: dict[str, float] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it is trained to the end and tested."""
        return self.epochs >= self.max_epochs and self.top1 is not None

    @property
    def state(self) -> str:
        """'finished', or what is missing."""
        if self.epochs < self.max_epochs:
            return f'{self.epochs} of {self.max_epochs} epochs, unfinished'
        return 'finished' if self.top1 is not None else 'not tested'


@dataclass
class Curves:
    """What is drawn but not stored.

    Args:
        train (list[dict]): A dict for each logged iteration.
        val (list[dict]): A dict for each evaluated epoch.
        confusion (np.ndarray, optional): Clips, [true class, answer].
        classes (list[str]): Their names.
    """

    train: list[dict]
    val: list[dict]
    confusion: np.ndarray | None = None
    classes: list[str] = field(default_factory=list)


def read_run(
    work_dir: Path, configs: Path = Path('configs'), count: Any = None
) -> tuple[RunResult, Curves]:
    """Read what a run left in its work directory.

    Args:
        work_dir (Path): The directory that tools/train.py wrote.
        configs (Path): Where the config files are, to compare with.
        count (callable, optional): From a config to a dict with ``flops`` and
            ``params``. Defaults to None, they are left out.

    Returns:
        tuple[RunResult, Curves]: Its facts and its curves.

    Raises:
        FileNotFoundError: If there is no run in ``work_dir``.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    dumped = sorted(work_dir.glob('*.py'), key=lambda p: p.stat().st_mtime)
    if not logs or not dumped:
        raise FileNotFoundError(
            f'{work_dir} holds no run: name a work directory of '
            'tools/train.py, such as work_dirs/CONFIG_NAME.'
        )
    path = configs / dumped[-1].name
    train, val = _scalars(logs)
    metrics, test_cfg = _newest_test(work_dir)
    cfg = _training_config(logs) or _config(dumped[-1])
    if 'test_dataloader' in test_cfg:
        cfg.test_dataloader = test_cfg.test_dataloader
    tested = test_cfg.get('load_from')
    tested = Path(tested).name if tested else None
    last = work_dir / 'last_checkpoint'
    checkpoint = None
    if last.is_file():
        checkpoint = Path(last.read_text().strip()).name
    saved = re.search(r'epoch_(\d+)', checkpoint or '')
    split = cfg.get('split', 1)
    test_list = datasets_of(cfg, 'test')[0]['ann_file']
    train_list = datasets_of(cfg, 'train')[0]['ann_file']

    labels, answers = _predictions(work_dir / 'predictions.pkl')
    classes = read_labels(cfg, cfg.model.cls_head.num_classes)
    confusion, per_class = None, {}
    if labels is not None:
        confusion = np.zeros((len(classes), len(classes)), int)
        np.add.at(confusion, (labels, answers), 1)
        per_class = {
            name: float(row[k] / row.sum())
            for k, (name, row) in enumerate(zip(classes, confusion))
            if row.sum()
        }
    notes = [
        run_facts.subset(train_list, 'train', split, _length(train_list)),
        run_facts.subset(
            test_list, 'test', split, _length(test_list) if labels is None else len(labels)
        ),
    ]
    if run_facts.list_name(train_list) != run_facts.list_name(test_list):
        notes.append(f'trained on {run_facts.data_name(train_list)}')
    if tested not in (None, checkpoint):
        if tested.startswith('best'):
            notes.append(f'tested: {tested}, chosen on the validation clips')
        else:
            metrics = {}  # of an earlier epoch
    differing = run_facts.changes(cfg, path, cfg.get('split'))
    if differing:
        more = len(differing) - MAX_CHANGES
        notes.append(
            'not the config of today: '
            + ', '.join(differing[:MAX_CHANGES])
            + (f', {more} more' if more > 0 else '')
        )
    counts = count(cfg) if count else {}
    result = RunResult(
        work_dir=work_dir.name,
        config=path.as_posix(),
        data=run_facts.data_name(test_list),
        notes=[n for n in notes if n],
        split=split,
        seed=(cfg.get('randomness') or {}).get('seed'),
        **run_facts.sampling(cfg.test_dataloader.dataset.pipeline),
        **run_facts.model_names(cfg.model),
        epochs=int(saved[1]) if saved else 0,
        max_epochs=cfg.train_cfg.max_epochs,
        loss=train[-1]['loss'] if train else None,
        seconds=sum(
            line['time'] * (line['step'] - before['step'])
            for before, line in zip([dict(step=0), *train], train)
        ),
        top1=metrics.get('acc/top1'),
        top5=metrics.get('acc/top5'),
        mean_class=metrics.get('acc/mean1'),
        flops=counts.get('flops'),
        params=counts.get('params'),
        checkpoint=checkpoint,
        log=next((log.name for log in sorted(work_dir.glob('*/*.log'))), None),
        per_class=per_class,
    )
    return result, Curves(train, val, confusion, classes)


def save_results(path: Path, runs: list[RunResult], planned: list[dict]) -> None:
    """Write the facts of runs, and the lists that are not yet run, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(dict(runs=[asdict(run) for run in runs], planned=planned), indent=1) + '\n'
    )


def load_results(path: Path) -> tuple[list[RunResult], list[dict]]:
    """Read what :func:`save_results` wrote.

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


def _scalars(logs: list[Path]) -> tuple[list[dict], list[dict]]:
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    for log in logs:
        for line in map(json.loads, log.read_text().splitlines()):
            if 'loss' in line:
                train[line['step']] = line
            elif 'acc/top1' in line and line['step'] > 0:
                val[line['step']] = line
    return [train[k] for k in sorted(train)], [val[k] for k in sorted(val)]


def _config(path: Path) -> Config:
    return Config.fromfile(path, import_custom_modules=False)


def _training_config(logs: list[Path]) -> Config | None:
    """Of the newest training: tests overwrite the one beside the logs."""
    configs = [log.with_name('config.py') for log in logs if '"loss"' in log.read_text()]
    configs = [path for path in configs if path.is_file()]
    return _config(configs[-1]) if configs else None


def _newest_test(work_dir: Path) -> tuple[dict, Config]:
    """Metrics and config of the newest test; empty if there is none."""
    tests = []
    for path in sorted(work_dir.glob('*/*.json')):
        metrics = json.loads(path.read_text())
        if 'acc/top1' in metrics:
            tests.append((path, metrics))
    if not tests:
        return {}, Config()
    path, metrics = tests[-1]
    config = path.parent / 'vis_data' / 'config.py'
    return metrics, _config(config) if config.is_file() else Config()


def _predictions(path: Path) -> tuple[Any, Any]:
    """True and answered classes of ``tools/test.py --dump``, or None."""
    if not path.is_file():
        return None, None
    try:
        with path.open('rb') as file:
            samples = ArrayUnpickler(file).load()
        return (
            np.array([int(s['gt_label']) for s in samples]),
            np.array([int(s['pred_score'].argmax()) for s in samples]),
        )
    except Exception as error:
        raise ValueError(f'{path} is not what tools/test.py --dump wrote: {error}') from error


def _length(ann_file: str) -> int | None:
    return len(read_list(ann_file)) if Path(ann_file).is_file() else None
