"""What a stream needs to know of a config and a model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn


def test_pipeline(cfg: Config) -> Sequence[dict]:
    """The pipeline that a config tests with.

    Args:
        cfg (Config): The config.

    Returns:
        Sequence[dict]: Configs of its transforms.

    Raises:
        ValueError: If the config has none.
    """
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    pipeline = dataset.get('pipeline') or cfg.get('test_pipeline')
    if not pipeline:
        raise ValueError(
            'the config has no test_pipeline, which says how frames are resized and cropped.'
        )
    return pipeline


def normalization(preprocessor: Any) -> dict[str, Any]:
    """What a model's data preprocessor does to pixels.

    Args:
        preprocessor (ActionDataPreprocessor): The model's.

    Returns:
        dict: ``mean`` and ``std``, 3 numbers each, and ``to_rgb``, whether
        the channels are reversed first.
    """
    values = dict(mean=[0.0] * 3, std=[1.0] * 3)
    if getattr(preprocessor, '_enable_normalize', False):
        values = {name: getattr(preprocessor, name).flatten().tolist() for name in values}
    return dict(values, to_rgb=bool(getattr(preprocessor, 'to_rgb', False)))


def fingerprint(model: nn.Module) -> str:
    """A short name for a model's weights.

    Args:
        model (nn.Module): The model.

    Returns:
        str: 16 hexadecimal digits, equal in every process for equal weights.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def read_labels(cfg: Config, num_classes: int, path: str | None = None) -> list[str]:
    """Names of the classes.

    Args:
        cfg (Config): The config; ``label_map.txt`` in its ``data_root`` is
            taken where ``path`` is None.
        num_classes (int): How many there are.
        path (str, optional): A file with one class a line. Defaults to None.

    Returns:
        list[str]: As many; 'class 0' and so on where there is no file.

    Raises:
        FileNotFoundError: If ``path`` is not there.
        ValueError: If the file has another number of lines.
    """
    file = Path(path or Path(cfg.get('data_root') or '.') / 'label_map.txt')
    if path is None and not file.is_file():
        return [f'class {k}' for k in range(num_classes)]
    labels = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    if len(labels) != num_classes:
        raise ValueError(
            f'{file} names {len(labels)} classes, and the model has '
            f'{num_classes}: pass the label file of its training data, one '
            'class a line.'
        )
    return labels
