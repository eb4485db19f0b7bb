"""Videos for the check and the calibration of exported models."""

import os.path as osp
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from torch import Tensor

from cnnlstm_mm.config import datasets_of, rows_of
from cnnlstm_mm.datasets.annotation_list import check_labels
from cnnlstm_mm.video_files import check_name
from mmaction.registry import DATASETS

PathLike = str | Path


def made_video(path: PathLike, frames: int = 48) -> None:
    """Write a video of drifting waves, 320x240 pixels at 25 frames a second.

    Args:
        path: the file, .mp4 or .webm (VP9).
        frames: how many.

    Raises:
        OSError: if OpenCV cannot write it.
    """
    code = 'VP90' if str(path).endswith('.webm') else 'mp4v'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 25, (320, 240))
    if not writer.isOpened():
        raise OSError(f'OpenCV cannot write {path}')
    y, x = np.mgrid[:240, :320]
    for t in range(frames):
        waves = [
            np.sin(x / (17 + 9 * k) + t / 5 * (k - 1)) * np.cos(y / (31 - 6 * k) + t / 7)
            for k in range(3)
        ]
        writer.write((127.5 + 120 * np.stack(waves, 2)).astype(np.uint8))
    writer.release()


def read_frames(path: PathLike, every: int = 1) -> list[np.ndarray]:
    """Read every n-th frame of a video, RGB uint8 [H, W, 3].

    Raises:
        ValueError: if OpenCV reads no frame of it.
    """
    check_name(path)
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        ok, frame = video.read()
        if not ok:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    video.release()
    if not frames:
        raise ValueError(f'expected a video that OpenCV reads, got no frame from {path}')
    return frames[::every]


def clip_views(pipeline: Sequence[dict], path: PathLike) -> Tensor:
    """Run the test pipeline on a video; uint8 [views, 3, T, h, w].

    A pipeline for folders of frames decodes the video instead.
    """
    steps = [
        dict(type='DecordDecode') if step['type'] == 'RawFrameDecode' else step for step in pipeline
    ]
    if steps != list(pipeline):
        steps = [dict(type='DecordInit'), *steps]
    return Compose(steps)(dict(filename=str(path), start_index=0, modality='RGB', label=-1))[
        'inputs'
    ]


def one_view(pipeline: Sequence[dict]) -> list[dict]:
    """Return a copy of a test pipeline with one clip and its middle crop."""
    done = [dict(transform) for transform in pipeline]
    for transform in done:
        if transform.get('num_clips', 1) > 1:
            transform['num_clips'] = 1
        if transform['type'] == 'ThreeCrop':
            transform['type'] = 'CenterCrop'
    return done


class ListSamples:
    """Videos of a list, read as a config reads its test list, through the test pipeline.

    Args:
        path: the list.
        root: the folder that its paths start from; None for that of the config's test data.
        pipeline: config of the test pipeline.
        cfg: the config: delimiter, class names, data set type and so on are those of its test
            data.

    Raises:
        FileNotFoundError: if the list or one of its videos is missing.
        ValueError: if a line cannot be read, or a video has no label, or several.
    """

    def __init__(
        self, path: PathLike, root: PathLike | None, pipeline: Sequence[dict], cfg: Config
    ) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f'expected a list of videos at {path}, got no such file')
        dataset: dict[str, Any] = dict(type='CheckedVideoDataset', data_prefix=dict(video=''))
        dataset |= next((one for one in datasets_of(cfg, 'test') if one.get('ann_file')), {})
        dataset.update(ann_file=osp.abspath(path), pipeline=list(pipeline), test_mode=True)
        if root is not None:
            dataset['data_prefix'] = dict.fromkeys(dataset['data_prefix'], osp.abspath(root))
        rows = rows_of(dataset)
        if rows is None or dataset.get('multi_class'):
            kind = dataset['type'] if rows is None else 'multi_class=True'
            raise ValueError(
                f'expected a list of videos with one label each, got {kind} in the test data of '
                'the config; fix: export without --int8'
            )
        check_labels(str(path), rows, cfg.model.cls_head.num_classes)
        self.data: Any = DATASETS.build(dataset)

    def __len__(self) -> int:
        return len(self.data)

    def spread(self, count: int) -> list[int]:
        """Return the numbers of ``count`` videos, spread over the list."""
        return sorted({int(k) for k in np.linspace(0, len(self) - 1, min(count, len(self)))})

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        """Read videos by their numbers; yield uint8 [views, 3, T, h, w] and the label of each."""
        for k in numbers:
            sample = self.data[k]
            if 'broken' in sample['data_samples']:
                (name, reason), *_ = sample['data_samples'].broken
                raise ValueError(f'expected a readable video, got {name}: {reason}')
            label = sample['data_samples'].gt_label
            yield sample['inputs'], int(label.flatten()[0])
