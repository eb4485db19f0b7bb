"""Data set of videos with captions."""

import os.path as osp
from typing import Any

from cnnlstm_mm.datasets.annotation_list import Row, check_there
from cnnlstm_mm.datasets.caption_list import read_captions
from cnnlstm_mm.datasets.checked_video_dataset import CheckedVideoDataset
from cnnlstm_mm.datasets.drawn_caption import draw_caption
from mmaction.registry import DATASETS


@DATASETS.register_module()
class CaptionDataset(CheckedVideoDataset):
    """CheckedVideoDataset whose clips have captions instead of labels.

    A sample has all of a clip's ``captions`` in its meta information, and in training one of
    them, drawn at each visit, as ``caption``.

    Args:
        ann_file: JSON lines, ``{"video": path, "captions": [...]}``; or .csv or .tsv with columns
            ``video`` and ``caption``, one caption a line.
        **kwargs: Of CheckedVideoDataset.

    Raises:
        ValueError: If the list is empty or a line cannot be read.
        FileNotFoundError: If a video of the list is missing.
    """

    def load_data_list(self) -> list[dict]:
        """``filename`` and ``captions`` of each video; ``label`` is -1."""
        root = self.data_prefix['video']
        clips = read_captions(self.ann_file)
        check_there(self.ann_file, [Row(clip.line, clip.path, []) for clip in clips], root)
        return [
            dict(filename=osp.join(root or '', clip.path), label=-1, captions=clip.captions)
            for clip in clips
        ]

    def read(self, idx: int) -> Any:
        """See :meth:`CheckedReading.read`."""
        results = super().read(idx)
        if results is not None:
            sample = results['data_samples']
            sample.set_metainfo(dict(captions=self.get_data_info(idx)['captions']))
            if not self.test_mode:
                draw_caption(sample)
        return results
