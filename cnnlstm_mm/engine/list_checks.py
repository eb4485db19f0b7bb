"""Checks of lists against head and evaluators, before anything runs."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.fileio import exists
from mmengine.logging import print_log

from cnnlstm_mm.config import datasets_of, list_path, nested_dicts, rows_of, type_name
from cnnlstm_mm.datasets.annotation_list import Row, check_labels
from cnnlstm_mm.datasets.clip_index import find_clips
from cnnlstm_mm.features.packed_sample import unpack
from cnnlstm_mm.features.store import FeatureStore
from cnnlstm_mm.models.balanced_losses import BALANCED, balanced_weights

DUMPS = ('DumpPredictions', 'DumpResults')
SINGLE = ('top_k_accuracy', 'mean_class_accuracy')  # metrics of one label a video, and the default


def check_lists(cfg: Config, modes: Iterable[str]) -> None:
    """Refuse lists that do not go with the head.

    Args:
        cfg: The config of a run.
        modes: Of 'train', 'val' and 'test'.

    Raises:
        ValueError: For a line that cannot be read, a label without an output, a clip without a
            label where one is needed, or a data set of several labels without their number.
    """
    classes = ((cfg.get('model') or {}).get('cls_head') or {}).get('num_classes')
    datasets = [(mode, dataset) for mode in modes for dataset in datasets_of(cfg, mode)]
    for mode, dataset in datasets:
        rows = _labels_of(dataset)
        several = dataset.get('multi_class', False)
        if classes is None:
            continue
        if several and dataset.get('num_classes') != classes:
            raise ValueError(
                f'{mode}_dataloader: expected num_classes={classes}, the classes of the head, '
                f'beside multi_class=True, got {dataset.get("num_classes")}; fix: set num_classes='
                f'{classes} in the data set'
            )
        if rows is not None:
            needed = not (several or dataset.get('store')) and not (
                mode == 'test' and only_dumps(cfg)
            )
            name = list_path(dataset) or f'{dataset["store"]}, {dataset.get("split", "train")}'
            check_labels(name, rows, classes, needed, mode == 'test')


def _labels_of(dataset: dict[str, Any]) -> list[Any] | None:
    """Rows of a list; of one with an index the first of each label, of a store its clips."""
    if type_name(dataset) == 'CheckedVideoDataset' and not dataset.get('multi_class'):
        clips = find_clips(list_path(dataset), None)
        if clips is not None:
            return clips.labels()
    return _stored_rows(dataset) if dataset.get('store') else rows_of(dataset)


def _stored_rows(dataset: dict[str, Any]) -> list[Row]:
    """Clips of a feature store that a data set reads, with their numbers from 1."""
    clips = FeatureStore(dataset['store'], dataset.get('split', 'train')).clips
    rows, chosen = [], dataset.get('indices')
    if not isinstance(chosen, Sequence):  # so many first or, below 0, last ones
        whole = range(len(clips))
        chosen = whole if chosen is None else whole[:chosen] if chosen >= 0 else whole[chosen:]
    for index in chosen:
        label = np.asarray(unpack(clips[index]['label']))  # a number, or 0 and 1 of each class
        labels = np.flatnonzero(label) if label.ndim else label[None]
        rows.append(Row(index + 1, clips[index]['filename'], labels.tolist()))
    return rows


def apply_balanced_weights(cfg: Config, modes: Sequence[str]) -> None:
    """Replace ``class_weight='balanced'`` with numbers from the training lists.

    Args:
        cfg: The config of a run, on videos or stored features.
        modes: Without 'train' among them the weights are left out.

    Raises:
        ValueError: If the lists cannot be read, or ClassBalancedDataset balances them already.
    """
    nodes = [
        node for node in nested_dicts(cfg.get('model')) if node.get('class_weight') == BALANCED
    ]
    if not nodes:
        return
    weights = None
    if 'train' in modes:
        dataset = cfg.train_dataloader.dataset
        kinds = {str(node.get('type')).rpartition('.')[2] for node in nested_dicts(dataset)}
        if 'ClassBalancedDataset' in kinds:
            raise ValueError(
                "class_weight='balanced': expected clips as often as the list has them, got "
                'ClassBalancedDataset, which repeats those of rare classes; fix: drop one of both'
            )
        labels: list[list[int]] = []
        for inner in datasets_of(cfg, 'train'):
            if not inner.get('store') and not exists(list_path(inner)):
                return  # check_files names it
            rows = _stored_rows(inner) if inner.get('store') else rows_of(inner)
            if rows is None:
                raise ValueError(
                    f"class_weight='balanced': expected a list of clips, got {inner.get('type')}; "
                    'fix: write the weights as numbers'
                )
            labels += [row.labels for row in rows]
        weights = balanced_weights(labels, cfg.model.cls_head.num_classes)
    for node in nodes:
        node['class_weight'] = weights


def only_dumps(cfg: Config) -> bool:
    """Whether a test writes its scores and computes no metric."""
    kinds = list(map(type_name, evaluators_of(cfg, 'test')))
    return bool(kinds) and set(kinds) <= set(DUMPS)


def drop_metrics_without_labels(cfg: Config) -> None:
    """Leave only the dump of scores, where a test has one, if its lists have no label at all."""
    evaluators = evaluators_of(cfg, 'test')
    dumps = [evaluator for evaluator in evaluators if type_name(evaluator) in DUMPS]
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


def check_evaluators(cfg: Config, modes: Iterable[str]) -> None:
    """Refuse a metric that would be wrong, or fail after the epoch.

    Args:
        cfg: The config of a run, before its videos become stored features.
        modes: Of 'train', 'val' and 'test'.

    Raises:
        ValueError: For scores that are not averaged over the clips of a video, and for an
            accuracy where a video has several labels.
    """
    head = (cfg.get('model') or {}).get('cls_head') or {}
    for mode in modes:
        metrics = [e for e in evaluators_of(cfg, mode) if type_name(e) == 'AccMetric']
        if not metrics:
            continue
        several = any(dataset.get('multi_class') for dataset in datasets_of(cfg, mode))
        average = head.get('average_clips')
        if 'num_classes' in head and average is None:
            raise ValueError(
                "model.cls_head.average_clips: expected 'score' or 'prob' for AccMetric, got "
                'None, which keeps the scores of each clip apart; fix: set model.cls_head.'
                f"average_clips='{'score' if several else 'prob'}'"
            )
        wrong = [
            name
            for metric in metrics
            for name in _listed(metric.get('metric_list', SINGLE))
            if name in SINGLE
        ]
        if several and wrong:
            raise ValueError(
                f'{mode}_evaluator: expected mean_average_precision for several labels a video, '
                f'got {", ".join(wrong)}; fix: set {mode}_evaluator=dict(type="AccMetric", '
                'metric_list=("mean_average_precision",))'
            )
        if several and average == 'prob':
            print_log(
                "model.cls_head.average_clips='prob' takes the softmax over classes, of which a "
                "video has several: 'score' keeps each class's own.",
                'current',
                logging.WARNING,
            )


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
