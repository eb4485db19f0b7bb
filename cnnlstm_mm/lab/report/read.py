"""Facts and curves of a run, read from its work directory."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.config import datasets_of, list_path, read_labels, rows_of, test_pipeline, type_name
from cnnlstm_mm.engine.dump_predictions import read_predictions
from cnnlstm_mm.run_identity import FILE, file_hash
from cnnlstm_mm.text import truncate_list

from . import run_facts
from .predictions import Predictions
from .result import SCORES, Curves, RunResult

MAX_CHANGES = 3  # settings that a note names
DUMPS = ('DumpPredictions', 'DumpResults')
LEFT_OUT = 'left out'  # in notes on files that cannot be read


def read_run(
    work_dir: Path, configs: Path = Path('configs'), count: Any = None
) -> tuple[RunResult, Curves]:
    """Read the facts and the curves of a run; a file that cannot be read makes a note.

    Args:
        work_dir: The directory that cnnlstm-mm train wrote.
        configs: Folder of the config files, to compare with.
        count: Function from a config to a dict with ``flops`` and ``params``.

    Raises:
        FileNotFoundError: If ``work_dir`` holds no run.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    dumped = sorted(work_dir.glob('*.py'), key=lambda p: p.stat().st_mtime)
    if not logs or not dumped:
        raise FileNotFoundError(
            f'expected a run, got {work_dir} without logs or config; fix: name a work directory of '
            'cnnlstm-mm train, such as work_dirs/CONFIG_NAME'
        )
    notes: list[str] = []
    logs, trainings, identity = _logs_of_one_run(logs, notes)
    run = identity.get('run')
    path = configs / (identity.get('config_file') or dumped[-1].name)
    train, val = _scalars(logs, notes)
    metrics, test_cfg, tested_facts = _newest_test(work_dir, notes)
    cfg = _training_config(trainings) or _config(dumped[-1])
    if 'test_dataloader' in test_cfg:
        cfg.test_dataloader = test_cfg.test_dataloader
    made_of, begun = run_facts.made_of(cfg, identity)
    notes.append(begun)
    cfg = run_facts.on_videos(cfg)
    last = work_dir / 'last_checkpoint'
    checkpoint = Path(last.read_text().strip()).name if last.is_file() else None
    saved = re.search(r'(?:epoch|iter)_(\d+)', checkpoint or '')
    split, loop = cfg.get('split', 1), cfg.get('train_cfg') or {}

    curves, per_class = Curves(train, val), {}
    predictions = _predictions_file(work_dir, test_cfg)
    if predictions is not None:
        try:
            found = _predictions(predictions, tested_facts)
            curves.classes = read_labels(cfg, found.scores.shape[1])
            per_class = dict(zip(curves.classes, found.per_class()))
            if not found.several:
                curves.confusion = found.confusion()
        except Exception as error:
            notes.append(f'{predictions} {LEFT_OUT}: {type(error).__name__}: {error}')
            predictions = None
    lists = {}
    for mode in ('train', 'test'):
        datasets = datasets_of(cfg, mode)
        lists[mode] = [run_facts.list_of(dataset) for dataset in datasets]
        clips = _clips(datasets, notes)
        if mode == 'test' and curves.confusion is not None:
            clips = int(curves.confusion.sum())
        if len(datasets) == 1:
            notes.append(run_facts.subset(lists[mode][0], mode, split, clips))
    train_names, test_names = (set(map(run_facts.list_name, names)) for names in lists.values())
    if train_names != test_names:
        notes.append(f'trained on {run_facts.data_name(lists["train"])}')
    foreign = _foreign_test(work_dir, run, tested_facts)
    if foreign:
        notes.append(f'test {LEFT_OUT}: {foreign}')
        metrics = {}
    tested = Path(test_cfg.load_from).name if test_cfg.get('load_from') else None
    if tested not in (None, checkpoint):
        if tested.startswith('best'):
            notes.append(f'tested: {tested}, chosen on the validation clips')
        else:
            metrics = {}  # of an earlier epoch
    differing = run_facts.changes(cfg, path, cfg.get('split'))
    if differing:
        notes.append(f'not the config of today: {truncate_list(differing, MAX_CHANGES)}')
    counts, gone = {}, run_facts.stores(cfg)
    if count and gone:  # what made the features is not known
        notes.append(f'FLOPs {LEFT_OUT}: no feature store {", ".join(gone)}')
    elif count:
        counts = count(cfg)
    result = RunResult(
        work_dir=work_dir.name,
        config=path.as_posix(),
        data=run_facts.data_name(lists['test']),
        notes=list(filter(None, notes)),
        split=split,
        seed=(cfg.get('randomness') or {}).get('seed'),
        **run_facts.sampling(test_pipeline(cfg)),
        **run_facts.model_names(cfg.model),
        epochs=int(saved[1]) if saved else 0,
        max_epochs=loop.get('max_epochs') or loop.get('max_iters') or 0,
        unit='epochs' if loop.get('max_epochs') else 'iterations',
        loss=train[-1]['loss'] if train else None,
        seconds=sum(
            line['time'] * (line['step'] - before['step'])
            for before, line in zip([dict(step=0), *train], train)
        ),
        top1=metrics.get('acc/top1'),
        top5=metrics.get('acc/top5'),
        mean_class=metrics.get('acc/mean1'),
        mean_ap=next((metrics[key] for key in SCORES[1:] if key in metrics), None),
        flops=counts.get('flops'),
        params=counts.get('params'),
        checkpoint=checkpoint,
        log=next((log.name for log in sorted(work_dir.glob('*/*.log'))), None),
        predictions=None if predictions is None else predictions.as_posix(),
        run=run,
        recipe=identity.get('recipe'),
        code=identity.get('code'),
        made_of=made_of,
        per_class={name: share for name, share in per_class.items() if share is not None},
    )
    return result, curves


def _scalars(logs: list[Path], notes: list[str]) -> tuple[list[dict], list[dict]]:
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    cut = 0
    for log in logs:
        for text in log.read_text(errors='replace').splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # a kill or a full disk cut it
                cut += 1
                continue
            if 'loss' in line:
                train[line['step']] = line
            elif line.get('step', 0) > 0 and any(key in line for key in SCORES):
                val[line['step']] = line
    if cut:
        notes.append(f'{cut} damaged line{"s" * (cut > 1)} of scalars.json {LEFT_OUT}')
    return [train[k] for k in sorted(train)], [val[k] for k in sorted(val)]


def _config(path: Path) -> Config:
    return Config.fromfile(path, import_custom_modules=False)


def _training_config(trainings: list[Path]) -> Config | None:
    """Of the newest training: tests overwrite the one beside the logs."""
    configs = [log.with_name('config.py') for log in trainings]
    configs = [path for path in configs if path.is_file()]
    return _config(configs[-1]) if configs else None


def _logs_of_one_run(logs: list[Path], notes: list[str]) -> tuple[list[Path], list[Path], dict]:
    """The logs of the newest training, over all of its restarts, and its identity.

    The logs come twice: with those of tests, and without. ``first`` in the identity is that of the
    training's beginning.

    A folder may hold several trainings. Logs of earlier versions do not say whose they are, and
    stay.
    """
    found = {
        log: _identity(log.parents[1])
        for log in logs
        if '"loss"' in log.read_text(errors='replace')
    }
    newest = next((one for one in reversed(found.values()) if one.get('run')), {})
    first = next((one for one in found.values() if one.get('run') == newest.get('run')), newest)
    others = [log for log, one in found.items() if one.get('run') not in (None, newest.get('run'))]
    if others:
        count = len(others)
        notes.append(f'{count} log{"s" * (count > 1)} of another training {LEFT_OUT}')
    kept, trainings = ([log for log in some if log not in others] for some in (logs, found))
    # A resumed training no longer names the weights that it began with.
    return kept, trainings, dict(newest, first=first)


def _identity(folder: Path) -> dict[str, Any]:
    """What RunIdentityHook wrote beside a log; {} where it did not."""
    try:
        return dict(json.loads((folder / FILE).read_text()))
    except (OSError, TypeError, ValueError):
        return {}


def _foreign_test(work_dir: Path, run: str | None, facts: dict[str, Any]) -> str:
    """Why a test is not one of this run's checkpoints as they are now; '' if it is."""
    name = facts.get('checkpoint')
    if None not in (run, facts.get('run')) and facts['run'] != run:
        return f'{name} is of another training'
    path = work_dir / str(name)
    if name and path.is_file() and file_hash(path) != facts['checkpoint_sha256']:
        return f'{name} was written anew since'
    return ''


def _newest_test(work_dir: Path, notes: list[str]) -> tuple[dict, Config, dict]:
    """Metrics, config and checkpoint of the newest test; empty without one."""
    for path in sorted(work_dir.glob('*/*.json'), reverse=True):
        try:
            metrics = json.loads(path.read_text())
        except ValueError as error:
            notes.append(f'{path} {LEFT_OUT}: {error}')
            continue
        if any(key in metrics for key in SCORES):
            config = path.parent / 'vis_data' / 'config.py'
            facts = _identity(path.parent)
            return metrics, _config(config) if config.is_file() else Config(), facts
    return {}, Config(), {}


def _predictions_file(work_dir: Path, test_cfg: Config) -> Path | None:
    """The file that the newest test dumped, or the newest pickle in the work directory."""
    evaluators = test_cfg.get('test_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    dumped = [Path(e['out_file_path']) for e in evaluators if type_name(e) in DUMPS]
    named = [place for path in dumped for place in (path, work_dir / path.name)]
    found = [path for kind in ('*.pkl', '*.pickle') for path in work_dir.glob(kind)]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return next((path for path in (*named, *found) if path.is_file()), None)


def _predictions(path: Path, tested: dict[str, Any]) -> Predictions:
    """Scores and labels of a file of ``cnnlstm-mm test --dump``.

    Raises:
        ValueError: If it is of another checkpoint than the newest test.
    """
    samples, facts = read_predictions(path)
    theirs, newest = (one.get('checkpoint_sha256') for one in (facts, tested))
    if theirs and newest and theirs != newest:
        raise ValueError(
            f'of {facts["checkpoint"]} (SHA-256 {theirs[:12]}), the newest test is of '
            f'{tested["checkpoint"]} ({newest[:12]})'
        )
    return Predictions.of(samples)


def _clips(datasets: Iterable[dict], notes: list[str]) -> int | None:
    """Lines of the lists; None where one is missing, unreadable or of another format."""
    total = 0
    for dataset in datasets:
        try:
            rows = rows_of(dataset) if Path(list_path(dataset)).is_file() else None
        except ValueError as error:
            notes.append(f'{list_path(dataset)} {LEFT_OUT}: {str(error).splitlines()[0]}')
            return None
        if rows is None:
            return None
        total += len(rows)
    return total
