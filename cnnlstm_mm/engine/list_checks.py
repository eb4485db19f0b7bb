"""Checks of lists against head and evaluators, before anything runs."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from cnnlstm_mm.config import datasets_of, list_path, rows_of
from cnnlstm_mm.datasets.annotation_list import check_labels

AVERAGES = "'score' or 'prob'"
SINGLE = ('top_k_accuracy', 'mean_class_accuracy')  # metrics of one label a video, and the default


def check_lists(cfg: Config, mode: str) -> None:
    """Refuse lists that do not go with the head.

    Args:
        cfg: The config of a run.
        mode: 'train', 'val' or 'test'.

    Raises:
        ValueError: For a line that cannot be read, a label without an output, a clip without a
            label where one is needed, or a data set of several labels without their number.
    """
    classes = ((cfg.get('model') or {}).get('cls_head') or {}).get('num_classes')
    for dataset in datasets_of(cfg, mode):
        rows = rows_of(dataset)
        multi_class = dataset.get('multi_class', False)
        if classes is None:
            continue
        if multi_class and dataset.get('num_classes') != classes and not dataset.get('store'):
            raise ValueError(
                f'{mode}_dataloader: expected num_classes={classes}, the classes of the head, '
                f'beside multi_class=True, got {dataset.get("num_classes")}; fix: set num_classes='
                f'{classes} in the data set'
            )
        if rows is not None:
            needed = not multi_class and not (mode == 'test' and only_dumps(cfg))
            check_labels(list_path(dataset), rows, classes, needed, mode == 'test')


def only_dumps(cfg: Config) -> bool:
    """Whether a test writes its scores and computes no metric."""
    kinds = [evaluator.get('type') for evaluator in evaluators_of(cfg, 'test')]
    return bool(kinds) and set(kinds) == {'DumpResults'}


def drop_metrics_without_labels(cfg: Config) -> None:
    """Leave only DumpResults, where a test has it, if the test lists have no label at all."""
    evaluators = evaluators_of(cfg, 'test')
    dumps = [evaluator for evaluator in evaluators if evaluator.get('type') == 'DumpResults']
    if not dumps or labelled(cfg, 'test'):
        return
    cfg.test_evaluator = dumps
    print_log(f'The test list has no labels: scores go to {dumps[0].out_file_path}, no metrics.')


def labelled(cfg: Config, mode: str) -> bool:
    """Whether the lists of a mode, as far as they can be read, have a label."""
    try:
        lists = [rows_of(dataset) for dataset in datasets_of(cfg, mode)]
    except FileNotFoundError:  # check_files names it and the cure
        return True
    return None in lists or any(row.labels for rows in lists for row in rows or ())


def evaluators_of(cfg: Config, mode: str) -> Sequence[dict[str, Any]]:
    """Configs of the evaluators of 'val' or 'test'."""
    found = cfg.get(f'{mode}_evaluator') or []
    return [found] if isinstance(found, dict) else list(found)


def check_evaluators(cfg: Config, mode: str) -> None:
    """Refuse a metric that would be wrong, or fail after the epoch.

    Args:
        cfg: The config of a run, before its videos become stored features.
        mode: 'train', 'val' or 'test'.

    Raises:
        ValueError: For scores that are not averaged over the clips of a video, and for an
            accuracy where a video has several labels.
    """
    head = (cfg.get('model') or {}).get('cls_head') or {}
    several = any(dataset.get('multi_class') for dataset in datasets_of(cfg, mode))
    metrics = [e for e in evaluators_of(cfg, mode) if e.get('type') in ('AccMetric', 'AccMetrics')]
    if not metrics:
        return
    if 'num_classes' in head and head.get('average_clips') is None:
        raise ValueError(
            f'model.cls_head.average_clips: expected {AVERAGES} for AccMetric, got None, which '
            f'keeps the scores of each clip apart; fix: set model.cls_head.average_clips='
            f'{"score" if several else "prob"}'
        )
    names = [
        name for e in metrics for name in _listed(e.get('metric_list', SINGLE)) if name in SINGLE
    ]
    if several and names:
        raise ValueError(
            f'{mode}_evaluator: expected mean_average_precision for several labels a video, got '
            f'{", ".join(names)}; fix: set {mode}_evaluator=dict(type="AccMetric", '
            'metric_list=("mean_average_precision",))'
        )
    if several and head.get('average_clips') == 'prob':
        print_log(
            "model.cls_head.average_clips='prob' takes the softmax over classes, of which a video "
            "has several: 'score' keeps each class's own.",
            'current',
            30,  # logging.WARNING
        )


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
