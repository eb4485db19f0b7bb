"""Data set of folders of frames with a checked list."""

import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmaction.datasets import RawframeDataset
from mmaction.registry import DATASETS

from .annotation_list import fault_lines, read_frame_counts
from .checked_video_dataset import CheckedReading


@DATASETS.register_module()
class CheckedRawframeDataset(CheckedReading, RawframeDataset):
    """RawframeDataset with a checked list, in which broken folders end no run.

    A folder whose frames cannot be read is replaced in training and named in testing, as a
    video by :class:`CheckedVideoDataset`.

    Args:
        ann_file: ``folder frames label`` a line, or ``folder offset frames label`` where
            ``with_offset``; several labels where ``multi_class``.
        pipeline: As upstream, with RawFrameDecode.
        decode_timeout: See :class:`CheckedVideoDataset`.
        **kwargs: As upstream's RawframeDataset.

    Raises:
        ValueError: If the list is empty, a line cannot be read, or a folder holds fewer frames.
        FileNotFoundError: If a folder of the list is missing.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: list[Any],
        decode_timeout: float | None = 120.0,
        **kwargs: Any,
    ) -> None:
        self.set_decode_timeout(decode_timeout)
        super().__init__(ann_file, pipeline, **kwargs)

    def load_data_list(self) -> Sequence[dict]:
        """``frame_dir``, ``filename`` (the same), ``total_frames`` and ``label`` of each line."""
        listed = read_frame_counts(self.ann_file, self.with_offset, self.multi_class)
        rows = []
        missing: list[tuple[int, str]] = []
        short: list[tuple[int, str]] = []
        for (number, path, labels), counts in listed:
            folder = osp.join(self.data_prefix['img'] or '', path)
            info = dict(counts, frame_dir=folder, filename=folder)
            values = labels or [-1]
            rows.append(dict(info, label=values if self.multi_class else values[0]))
            self._look_up(number, info, missing, short)
        for kind, found, cure in (
            (FileNotFoundError, missing, 'set data_prefix to the folder that the paths start from'),
            (ValueError, short, 'correct the number of frames, filename_tmpl or start_index'),
        ):
            if found:
                raise kind(f'{fault_lines(self.ann_file, found)}\nfix: {cure}')
        return rows

    def _look_up(self, number: int, info: dict, missing: list, short: list) -> None:
        """Note a folder that is missing, or whose last frame is."""
        folder = info['frame_dir']
        if '://' in folder:
            return
        if not osp.isdir(folder):
            missing.append((number, f'{folder} is not there'))
        elif self.modality == 'RGB':
            last = self.start_index + info.get('offset', 0) + info['total_frames'] - 1
            name = self.filename_tmpl.format(last)
            if not osp.isfile(osp.join(folder, name)):
                found = len(os.listdir(folder))
                short.append((number, f'{folder} lacks {name}, it holds {found} files'))
