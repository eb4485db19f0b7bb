"""Meaning of a config: data sets and their lists, test pipeline, weights, class names.

Importing it needs mmengine, but neither PyTorch nor MMAction2.
"""

import os
import os.path as osp
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.resources import find_config

# Environment variable by which configs choose their lists while they are read.
SPLIT_VARIABLE = 'CNNLSTM_MM_SPLIT'
# Data sets whose ann_file has 'path label' lines.
LISTED = ('CheckedVideoDataset', 'VideoDataset', 'CachedFeatureDataset')
# Data sets whose ann_file has videos and captions.
CAPTIONED = ('CaptionDataset',)
# Data sets whose ann_file has 'folder frames label' lines.
FRAMES = ('RawframeDataset', 'CheckedRawframeDataset')


def read_config(
    path: str | Path, split: int | None = None, cfg_options: dict[str, Any] | None = None
) -> Config:
    """Read a config as cnnlstm-mm train does with ``--cfg-options``; modules are not imported."""
    with split_variable(split):
        cfg = Config.fromfile(find_config(str(path)), import_custom_modules=False)
    cfg.merge_from_dict({**(cfg_options or {}), **({} if split is None else {'split': split})})
    return cfg


@contextmanager
def split_variable(split: int | str | None) -> Iterator[None]:
    """Set the environment variable from which configs compute their lists' names, or unset it."""
    before = os.environ.pop(SPLIT_VARIABLE, None)
    if split is not None:
        os.environ[SPLIT_VARIABLE] = str(split)
    try:
        yield
    finally:
        os.environ.pop(SPLIT_VARIABLE, None)
        if before is not None:
            os.environ[SPLIT_VARIABLE] = before


def nested_dicts(node: Any) -> Iterator[dict]:
    """Yield a config node, if it is a dict, and every dict below it."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from nested_dicts(item)


def type_name(node: dict[str, Any] | None) -> str:
    """Type of a config node without the scope of MMAction2 or mmengine; '' where it has none."""
    kind = (node or {}).get('type') or ''
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.removeprefix('mmaction.').removeprefix('mmengine.')


def innermost_datasets(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Configs inside RepeatDataset, ClassBalancedDataset, ConcatDataset and the like."""
    if 'datasets' in dataset:
        return [inner for part in dataset['datasets'] for inner in innermost_datasets(part)]
    return innermost_datasets(dataset['dataset']) if 'dataset' in dataset else [dataset]


def datasets_of(cfg: Config, mode: str) -> list[dict[str, Any]]:
    """Innermost data sets of the 'train', 'val' or 'test' loader; [] without a loader."""
    dataset = (cfg.get(f'{mode}_dataloader') or {}).get('dataset')
    return innermost_datasets(dataset) if dataset else []


def list_path(dataset: dict[str, Any]) -> str:
    """Path of an innermost data set's annotation list; '' where it has none."""
    ann_file = dataset.get('ann_file')
    return osp.join(dataset.get('data_root') or '', ann_file) if ann_file else ''


def class_names_of(dataset: dict[str, Any]) -> str | list[str] | None:
    """Class names of an innermost data set: its label_file, or metainfo's classes, if any."""
    return dataset.get('label_file') or (dataset.get('metainfo') or {}).get('classes')


def rows_of(dataset: dict[str, Any]) -> list[Any] | None:
    """Read the annotation list of an innermost data set, as the data set reads it.

    Returns:
        A :class:`cnnlstm_mm.datasets.annotation_list.Row` a line; None for a feature store, and
        for data sets whose lists have other columns.

    Raises:
        FileNotFoundError, ValueError: If the list is missing or a line cannot be read.
    """
    kind = type_name(dataset)
    if kind not in (*LISTED, *FRAMES) or not dataset.get('ann_file'):
        return None
    # Here, because the package of data sets imports MMAction2.
    from cnnlstm_mm.datasets.annotation_list import read_frame_list, read_list

    several = dataset.get('multi_class', False)
    if kind in FRAMES:
        return read_frame_list(list_path(dataset), dataset.get('with_offset', False), several)
    return read_list(
        list_path(dataset),
        dataset.get('delimiter', ' '),
        several,
        class_names_of(dataset),
        plain=kind == 'VideoDataset',
    )


def drop_worker_options(cfg: Config) -> None:
    """Let loaders without worker processes drop the options that PyTorch refuses there."""
    for mode in ('train', 'val', 'test'):
        loader = cfg.get(f'{mode}_dataloader')
        if loader and not loader.get('num_workers'):
            loader['persistent_workers'] = False
            loader.pop('prefetch_factor', None)


def test_pipeline(cfg: Config) -> Sequence[dict]:
    """Configs of the transforms that a config tests with.

    Raises:
        ValueError: If it has none.
    """
    pipelines = [data.get('pipeline') for data in datasets_of(cfg, 'test')]
    pipeline = next(filter(None, pipelines), None) or cfg.get('test_pipeline')
    if not pipeline:
        raise ValueError(
            'expected a test_pipeline in the config, got none; fix: add it, frames are resized and '
            'cropped as it says'
        )
    return pipeline


def named_weights(model: Any) -> list[str]:
    """Checkpoints that a model's config names, as ``init_cfg`` or ``pretrained``."""
    nodes = list(nested_dicts(model))
    return [
        str(node['checkpoint'])
        for node in nodes
        if type_name(node) == 'Pretrained' and node.get('checkpoint')
    ] + [node['pretrained'] for node in nodes if isinstance(node.get('pretrained'), str)]


def vocabularies(cfg: Config) -> list[str]:
    """Files of the vocabulary that a config's caption head names; [] without."""
    named = ((cfg.get('model') or {}).get('cls_head') or {}).get('vocabulary')
    return [named] if isinstance(named, str) and not named.lstrip().startswith('{') else []


def check_classifier(cfg: Config) -> None:
    """Raise ValueError for a config that writes captions, with the commands for it."""
    if type_name((cfg.get('model') or {}).get('cls_head')) == 'CaptionHead':
        raise ValueError(
            'expected a config of a recognizer, got a CaptionHead, which writes sentences; fix: '
            'cnnlstm-mm caption, cnnlstm-mm export-captions, or StreamingCaptioner'
        )


def normalization(preprocessor: Any) -> dict[str, Any]:
    """Normalization of pixels by a built ``ActionDataPreprocessor``.

    Returns:
        ``mean`` and ``std``, 3 numbers each, and ``to_rgb``: channels are reversed first.
    """
    values: dict[str, Any] = dict(mean=[0.0] * 3, std=[1.0] * 3)
    if getattr(preprocessor, '_enable_normalize', False):
        values = {name: getattr(preprocessor, name).flatten().tolist() for name in values}
    return dict(values, to_rgb=bool(getattr(preprocessor, 'to_rgb', False)))


def read_labels(
    cfg: Config, num_classes: int, path: str | Sequence[str] | None = None
) -> list[str]:
    """Read the class names, one a line.

    Args:
        cfg: The config; the default of ``path`` are the class names of its test or training data
            set, see :func:`class_names_of`, then ``label_map.txt`` beside their lists, then that in
            its ``data_root``.
        num_classes: Outputs of the classifier.
        path: A file of class names, or these.

    Returns:
        ``num_classes`` names; 'class 0' and so on where the default file is missing. The class
        number ``cfg.none_class`` beyond the file is 'none'.

    Raises:
        FileNotFoundError: If ``path`` is given and missing.
        ValueError: If the file has another number of lines.
    """
    given = path or _given_names(cfg)
    if given is None:
        return [f'class {k}' for k in range(num_classes)]
    labels = read_lines(given) if isinstance(given, (str, Path)) else list(given)
    if cfg.get('none_class') == len(labels) == num_classes - 1:
        labels.append('none')
    if len(labels) != num_classes:
        raise ValueError(
            f'{given} names {len(labels)} classes, and the model has {num_classes}: pass the '
            'label file of its training data, one class per line.'
        )
    return labels


def read_lines(path: str | Path) -> list[str]:
    """Lines of a UTF-8 text file that are not blank, without blanks at their ends."""
    lines = Path(path).read_text(encoding='utf-8').splitlines()
    return [line.strip() for line in lines if line.strip()]


def _given_names(cfg: Config) -> Any:
    """A file of class names, or a list of them, that the config gives; None without."""
    datasets = [dataset for mode in ('test', 'train') for dataset in datasets_of(cfg, mode)]
    folders = [osp.dirname(list_path(data)) for data in datasets if data.get('ann_file')]
    folders += [cfg.data_root] if cfg.get('data_root') else []
    given = [*map(class_names_of, datasets), *(osp.join(f, 'label_map.txt') for f in folders)]
    return next(
        (one for one in given if one and (not isinstance(one, str) or osp.isfile(one))), None
    )
