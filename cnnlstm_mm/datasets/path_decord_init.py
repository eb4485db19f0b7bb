"""Videos opened by their path."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from cnnlstm_mm.options import check_int, check_number
from mmaction.datasets.transforms import DecordInit
from mmaction.registry import TRANSFORMS

from .video_reader import VideoReader


@TRANSFORMS.register_module()
class PathDecordInit(DecordInit):
    """DecordInit for local files, read by :class:`VideoReader`; for DecordDecode.

    Upstream hands decord the bytes of the file; decord 0.6.0 then ends the process
    (segmentation fault) on an .avi that was cut short, and with it the training. Opened by its
    path the same file can be read.

    Args:
        num_threads: Of the decoder.
        min_share: Least share of the promised frames that a file must hold.

    Raises:
        ValueError: In the transform, if the file has no frames or too few.
    """

    def __init__(self, num_threads: int = 1, min_share: float = 0.9) -> None:
        check_int(0, num_threads=num_threads)
        check_number(0, 1, min_share=min_share)
        super().__init__(io_backend='disk', num_threads=num_threads)
        self.min_share = min_share

    def _get_video_reader(self, filename: str) -> VideoReader:
        if osp.splitext(filename)[0] == filename:
            filename += '.mp4'  # as upstream
        return VideoReader(filename, self.num_threads, self.min_share)


def read_by_path(pipeline: Sequence[Any]) -> list[Any]:
    """Configs of a pipeline whose decord and OpenCV transforms read local files by path."""
    inits = [t for t in pipeline if _is(t, 'DecordInit', 'OpenCVInit')]
    if not inits or inits[0].get('io_backend', 'disk') != 'disk':
        return list(pipeline)
    threads = inits[0].get('num_threads', 1)
    done = [
        dict(type='PathDecordInit', num_threads=threads) if transform in inits else transform
        for transform in pipeline
    ]
    return [dict(type='DecordDecode') if _is(t, 'OpenCVDecode') else t for t in done]


def _is(transform: Any, *kinds: str) -> bool:
    return isinstance(transform, dict) and transform.get('type') in kinds
