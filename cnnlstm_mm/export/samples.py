"""Videos to check and to calibrate exported models with."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Union

import cv2
import numpy as np
from mmengine.dataset import Compose
from torch import Tensor

from mmaction.datasets import VideoDataset

PathLike = Union[str, Path]


def made_video(path: PathLike, frames: int = 48) -> None:
    """Write a video of drifting waves.

    Args:
        path (str or Path): The file, .mp4 or .webm (VP9).
        frames (int): How many, of 320x240 at 25 a second. Defaults to 48.

    Raises:
        OSError: If OpenCV cannot write it.
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
    """Read a whole video.

    Args:
        path (str or Path): The file.
        every (int): Take each so many-th frame. Defaults to 1.

    Returns:
        list[ndarray]: RGB, uint8 [H, W, 3].

    Raises:
        ValueError: If OpenCV reads no frame of it.
    """
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = video.read()
        if not there:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    video.release()
    if not frames:
        raise ValueError(f'{path} gave no frame: is it a video that OpenCV reads?')
    return frames[::every]


def clip_views(pipeline: Sequence[dict], path: PathLike) -> Tensor:
    """What a test takes of a video.

    Args:
        pipeline (Sequence[dict]): The test pipeline.
        path (str or Path): The video.

    Returns:
        Tensor: uint8 [views, 3, T, h, w].
    """
    return Compose(list(pipeline))(
        dict(filename=str(path), start_index=0, modality='RGB', label=-1)
    )['inputs']


def one_view(pipeline: Sequence[dict]) -> list[dict]:
    """A test pipeline with one clip and its middle crop.

    Args:
        pipeline (Sequence[dict]): The test pipeline.

    Returns:
        list[dict]: Changed copies of its transforms.
    """
    done = [dict(transform) for transform in pipeline]
    for transform in done:
        if transform.get('num_clips', 1) > 1:
            transform['num_clips'] = 1
        if transform['type'] == 'ThreeCrop':
            transform['type'] = 'CenterCrop'
    return done


class ListSamples:
    """The videos of a list, as a test takes them.

    Args:
        path (str or Path): MMAction2's list: a video and its label a line.
        root (str or Path): The folder that its paths start from.
        pipeline (Sequence[dict]): Config of the test pipeline.

    Raises:
        FileNotFoundError: If the list or one of its videos is missing.
        ValueError: If the list is empty.
    """

    def __init__(self, path: PathLike, root: PathLike, pipeline: Sequence[dict]) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f'there is no list {path}')
        self.data: Any = VideoDataset(
            str(path), list(pipeline), data_prefix=dict(video=str(root)), test_mode=True
        )
        files = [self.data.get_data_info(k)['filename'] for k in range(len(self.data))]
        if not files:
            raise ValueError(f'{path} names no video')
        missing = [file for file in files if not Path(file).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(files)} videos of {path} are missing,'
                f' the first is {missing[0]}: pass --data-prefix with the '
                'folder that the paths of the list start from.'
            )

    def __len__(self) -> int:
        return len(self.data)

    def spread(self, count: int) -> list[int]:
        """Numbers of ``count`` videos, spread over the list."""
        return sorted({int(k) for k in np.linspace(0, len(self) - 1, min(count, len(self)))})

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        """Read videos.

        Args:
            numbers (Sequence[int]): Which.

        Yields:
            tuple[Tensor, int]: uint8 [views, 3, T, h, w] and its label.
        """
        for k in numbers:
            sample = self.data[k]
            label = sample['data_samples'].gt_label
            yield sample['inputs'], int(label.flatten()[0])
