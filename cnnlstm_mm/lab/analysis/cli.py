"""Arguments and test data that the analysis tools share."""

import argparse

import numpy as np
from mmengine.config import Config

from cnnlstm_mm.cli import add_cfg_options
from cnnlstm_mm.config import datasets_of, drop_worker_options, list_path, rows_of
from cnnlstm_mm.datasets.annotation_list import check_labels
from cnnlstm_mm.datasets.path_decord_init import apply_path_readers
from cnnlstm_mm.engine.launch import check_files
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.resources import find_config


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``models``, --max-videos, --device, --cfg-options, --json and --plot."""
    parser.add_argument(
        'models',
        nargs='+',
        metavar='CONFIG CHECKPOINT',
        help='config file and checkpoint file of each model',
    )
    parser.add_argument('--json', help='write the figures here')
    parser.add_argument('--plot', help='write the picture here')
    parser.add_argument(
        '--max-videos', type=int, help='so many videos, evenly spaced over the list'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    add_cfg_options(parser, 'all configs')


def model_pairs(models: list[str]) -> list[tuple[str, str]]:
    """Pair configs and checkpoints; ValueError if one is missing."""
    if len(models) % 2:
        raise ValueError(f'expected pairs of CONFIG and CHECKPOINT, got {" ".join(models)}')
    return list(zip(models[::2], models[1::2]))


def load_test_config(path: str, options: dict | None) -> Config:
    """Read a config whose test data are on this machine, with one label per video.

    Raises:
        FileNotFoundError: If the list or the videos are missing.
        ValueError: If the list has several labels a video.
    """
    keep_freed_memory()
    cfg = Config.fromfile(find_config(path))
    cfg.merge_from_dict(options or {})
    drop_worker_options(cfg)
    check_files(Config(dict(cfg, model={})), ['test'])
    classes = (cfg.model.get('cls_head') or {}).get('num_classes')
    for dataset in datasets_of(cfg, 'test'):
        if dataset.get('multi_class'):
            raise ValueError(
                f'expected one label per video, got the list {list_path(dataset)} with '
                'multi_class=True; fix: name a list of single labels with --cfg-options '
                'test_dataloader.dataset.ann_file=LIST test_dataloader.dataset.multi_class=False'
            )
        rows = rows_of(dataset)
        if rows is not None and classes is not None:
            check_labels(list_path(dataset), rows, classes)
    apply_path_readers(cfg)
    return cfg


def chosen_videos(count: int, max_videos: int | None) -> np.ndarray:
    """Numbers of some videos, evenly spaced over a list of ``count``."""
    chosen = np.linspace(0, count - 1, min(max_videos or count, count))
    return chosen.round().astype(int)


def test_lists(cfg: Config) -> str:
    """Paths of a config's test lists, for messages."""
    return ', '.join(map(list_path, datasets_of(cfg, 'test')))
