"""Scores of clips, by the test pipeline and the model of a config."""

import functools
import hashlib
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import FUNCTIONS
from mmengine.runner.amp import autocast
from mmengine.runner.checkpoint import _load_checkpoint, _load_checkpoint_to_model
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from cnnlstm_mm.config import CAPTIONED, FRAMES, LISTED, datasets_of, test_pipeline, type_name
from cnnlstm_mm.datasets.checked_video_dataset import CheckedReading
from cnnlstm_mm.datasets.path_decord_init import read_by_path
from cnnlstm_mm.datasets.replacing import BrokenSampleError
from cnnlstm_mm.models.fit import check_channels, check_fit
from cnnlstm_mm.run_identity import PATHS_AND_WORKERS, file_hash, flatten
from cnnlstm_mm.version import __version__
from cnnlstm_mm.video_files import check_name
from cnnlstm_mm.weights import check_device, compare, extract_state_dict
from mmaction.registry import MODELS

from .recording import recording_pipeline

Scores = Tensor | str  # [classes], or why there are none
Captions = list[dict[str, Any]]


def test_dataset(cfg: Config) -> dict[str, Any]:
    """The innermost test data set of a config that reads videos or folders of frames.

    Raises:
        ValueError: If it reads something else, as stored features.
    """
    datasets = datasets_of(cfg, 'test')
    if not datasets:
        raise ValueError('expected a test_dataloader in the config, got none; fix: add one')
    kind = type_name(datasets[0])
    if cfg.get('features') is not None or kind == 'CachedFeatureDataset':
        raise ValueError(
            'expected a config that reads videos, got one of stored features; fix: join backbone '
            'and checkpoint with cnnlstm-mm merge and name the config of the videos'
        )
    if kind not in (*LISTED, *FRAMES, *CAPTIONED):
        raise ValueError(
            'expected test data of type CheckedVideoDataset or CheckedRawframeDataset, got '
            f'{kind}; fix: name a config that reads videos'
        )
    return datasets[0]


def build_model(cfg: Config, checkpoint: str, device: str) -> nn.Module:
    """Build the recognizer of a config with the weights of a checkpoint, as a test does.

    Raises:
        FileNotFoundError, RuntimeError, ValueError: If the checkpoint is missing or lacks weights
            of the model, the config cannot give one score per class, or the device does not exist.
    """
    check_fit(cfg.get('model'))
    if '://' not in checkpoint and not osp.isfile(checkpoint):
        raise FileNotFoundError(f'expected a checkpoint, got {checkpoint}: no such file')
    check_device(device)
    model = MODELS.build(cfg.model)
    check_channels(model)
    if getattr(model.cls_head, 'average_clips', 'prob') is None:
        raise ValueError(
            "model.cls_head.average_clips: expected 'score' or 'prob', got None, which keeps the "
            "scores of each clip apart; fix: --cfg-options model.cls_head.average_clips='prob'"
        )
    loaded = _load_checkpoint(checkpoint, map_location='cpu')
    found = compare(extract_state_dict(loaded, checkpoint), model, checkpoint)
    if found.missing or found.reshaped:
        raise RuntimeError(
            f'{checkpoint} does not fit the config. {found} fix: name the config that it was '
            'trained with.'
        )
    _load_checkpoint_to_model(model, loaded, strict=False)
    return model.to(device).eval()


def settings_of(cfg: Config, checkpoint: str, labels: list[str], **options: Any) -> dict[str, Any]:
    """What answers depend on: values by name, as JSON gives them back."""
    parts = dict(model=cfg.model, dataset=test_dataset(cfg), test_cfg=cfg.get('test_cfg') or {})
    config = {
        key: value
        for key, value in flatten(parts).items()
        if not {'data_prefix', 'metainfo'} & set(key.split('.'))
        and key.split('.')[-1] not in (*PATHS_AND_WORKERS, 'label_file', 'delimiter')
    }
    weights = file_hash(checkpoint) if osp.isfile(checkpoint) else checkpoint
    digest = hashlib.sha256('\n'.join(labels).encode()).hexdigest()
    names = f'{len(labels)}, SHA-256 {digest[:12]}'
    made_of = dict(version=__version__, checkpoint_sha256=weights, classes=names)
    return {**made_of, **options, **config}


class _Clips(CheckedReading, Dataset[Any]):
    """Clips, packed by a test pipeline; (file, reason) for those that cannot be read."""

    def __init__(self, clips: Sequence[dict[str, Any]], cfg: Config, seconds: float) -> None:
        dataset = test_dataset(cfg)
        self.clips = clips
        timeout = dataset.get('decode_timeout', 120.0)
        self.set_decode_timeout(None if timeout is None else timeout + seconds)
        pipeline = test_pipeline(cfg)
        self.pipelines = (
            Compose(read_by_path(pipeline, dataset.get('decoder'))),
            Compose(recording_pipeline(list(pipeline), seconds)),
        )

    def __len__(self) -> int:
        return len(self.clips)

    def get_data_info(self, idx: int) -> dict[str, Any]:
        return dict(self.clips[idx])

    def __getitem__(self, idx: int) -> tuple[str, Any]:
        name = self.clips[idx]['filename']
        self.pipeline = self.pipelines['address' in self.clips[idx]]
        try:
            check_name(name)
            return name, self.read(idx) or 'the test pipeline leaves it out'
        except (ImportError, MemoryError):
            raise
        except BrokenSampleError as error:
            return name, error.reason
        except Exception as error:
            return name, f'{type(error).__name__}: {error}'


def predict(
    model: Any,
    cfg: Config,
    clips: Sequence[dict[str, Any]],
    batch_size: int | None = None,
    workers: int | None = None,
    seconds: float = 10.0,
) -> Iterator[list[tuple[str, Any]]]:
    """Compute the scores or captions of clips, which are those of a test on the same files.

    Args:
        model: See :func:`build_model`.
        cfg: Its config.
        clips: See :func:`find_inputs`.
        batch_size: Clips a batch; by default the test loader's.
        workers: Decoding processes; by default the test loader's.
        seconds: How long addresses are recorded.

    Yields:
        (file, scores [classes], ``pred_captions`` or the reason why there are none) of each clip
        of a batch, in order.
    """
    loader = cfg.test_dataloader
    options = dict(loader.get('collate_fn') or dict(type='pseudo_collate'))
    collate = functools.partial(FUNCTIONS.get(options.pop('type')), **options)
    batches = DataLoader(
        _Clips(clips, cfg, seconds),
        batch_size or loader.get('batch_size', 1),
        num_workers=loader.get('num_workers', 0) if workers is None else workers,
        collate_fn=list,
        worker_init_fn=_start_worker,
    )
    half = bool((cfg.get('test_cfg') or {}).get('fp16'))
    for batch in batches:
        samples: Iterator[Any] = iter(())
        good = [data for _, data in batch if not isinstance(data, str)]
        if good:
            with torch.no_grad(), autocast(enabled=half):
                samples = iter(model.test_step(collate(good)))
        yield [
            (name, data if isinstance(data, str) else _answer(next(samples)))
            for name, data in batch
        ]


def _answer(sample: Any) -> Tensor | Captions:
    return sample.pred_captions if 'pred_captions' in sample else sample.pred_score.cpu()


def _start_worker(number: int) -> None:
    cv2.setNumThreads(0)  # its threads are lost in a fork
