"""Captions of files: the model with its vocabulary, windows of long videos."""

import json
import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.runner.checkpoint import _load_checkpoint
from torch import nn

from cnnlstm_mm.config import type_name
from cnnlstm_mm.datasets.path_decord_init import INITS
from cnnlstm_mm.datasets.video_reader import VideoReader
from cnnlstm_mm.prediction.model import build_model, test_dataset

from .vocabulary import META

SEARCH = ('beam_width', 'n_best', 'length_penalty', 'no_repeat_ngram')


def load_captioner(cfg: Config, checkpoint: str, device: str = 'cpu', **search: Any) -> nn.Module:
    """Build the captioner of a config with the weights and the vocabulary of a checkpoint.

    Args:
        cfg: The config; its vocabulary is replaced by the checkpoint's.
        checkpoint: A checkpoint.
        device: Where the model runs.
        **search: Options of :class:`CaptionHead`, of those named in ``SEARCH``; None leaves the
            config's.

    Raises:
        ValueError: If the config writes no captions; see also :func:`build_model`.
    """
    head = (cfg.get('model') or {}).get('cls_head') or {}
    if type_name(head) != 'CaptionHead':
        raise ValueError(
            f'expected a config whose cls_head is a CaptionHead, got {type_name(head) or "none"}; '
            'fix: cnnlstm-mm predict names actions'
        )
    if osp.isfile(checkpoint):
        meta = (_load_checkpoint(checkpoint, map_location='cpu') or {}).get('meta') or {}
        if META in meta:
            head.vocabulary = json.loads(meta[META])
    head.update({name: value for name, value in search.items() if value is not None})
    head.beam_width = max(head.get('beam_width', 1), head.get('n_best', 1))
    return build_model(cfg, checkpoint, device)


def add_windows(cfg: Config) -> None:
    """Let the test pipeline of a config sample within the ``window`` of a clip."""
    dataset = test_dataset(cfg)
    pipeline = list(dataset['pipeline'])
    inits = [k for k, step in enumerate(pipeline) if type_name(step) in INITS]
    if not inits:
        raise ValueError('expected a test pipeline that opens videos, got none of ' + str(INITS))
    pipeline.insert(inits[0] + 1, dict(type='FrameWindow'))
    dataset['pipeline'] = pipeline


def windows(path: str, seconds: float) -> Iterator[tuple[tuple[int, int], tuple[float, float]]]:
    """Cut a video into windows.

    Args:
        path: The video.
        seconds: Length of a window; the last is shorter, or half as long again at most.

    Yields:
        First frame and the one after the last, and the same in seconds.
    """
    reader = VideoReader(path)
    rate = reader.get_avg_fps() or 25.0
    size = max(1, round(seconds * rate))
    starts = list(range(0, len(reader), size))
    if len(starts) > 1 and len(reader) - starts[-1] < size / 2:
        starts.pop()
    for first, end in zip(starts, [*starts[1:], len(reader)]):
        yield (first, end), (first / rate, end / rate)
