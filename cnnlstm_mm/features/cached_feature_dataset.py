"""Dataset of precomputed features."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlstm_mm.datasets.annotation_list import load_files
from cnnlstm_mm.datasets.drawn_caption import draw_caption
from cnnlstm_mm.datasets.replacing import BrokenSampleError, ReplacingMixin
from mmaction.datasets import BaseActionDataset
from mmaction.registry import DATASETS
from mmaction.structures import ActionDataSample

from .packed_sample import unpack
from .sequence_file import read_sequence
from .store import FeatureStore


@DATASETS.register_module()
class CachedFeatureDataset(ReplacingMixin, BaseActionDataset):
    """Sequences of features, of any length, for neck and head.

    They come from a store of ``cnnlstm-mm extract`` (``store`` and ``split``), or from
    one file a sequence (``ann_file``). In training one of the stored views of a clip is drawn at
    random, with its own label, or with one of its captions; in test mode all are used. The model
    needs ``FeatureDataPreprocessor`` and ``PrecomputedFeatures``; :func:`use_features` puts all
    three into a config of videos.

    Args:
        ann_file: A list of sequence files, see :func:`read_list` and :func:`read_sequence`.
        data_prefix: ``feature``: the folder that its paths start from.
        store: The folder of a store.
        split: Which of its splits.
        delimiter: Of the list.
        label_file: Class names for a list whose labels are names, see :func:`read_list`.
        **kwargs: ``test_mode`` and others of mmengine's BaseDataset.

    Raises:
        ValueError: If not exactly one of ``ann_file`` and ``store`` is given.
        FileNotFoundError: If a file of the list or the store is missing.
    """

    def __init__(
        self,
        ann_file: str = '',
        data_prefix: dict = dict(feature=''),
        store: str | None = None,
        split: str = 'train',
        delimiter: str = ' ',
        label_file: str | None = None,
        **kwargs: Any,
    ) -> None:
        if bool(ann_file) == bool(store):
            raise ValueError(
                'CachedFeatureDataset: expected either ann_file, a list of sequence files, or '
                'store, the folder of cnnlstm-mm extract, got '
                f'{ann_file!r} and {store!r}'
            )
        self.delimiter, self.label_file = delimiter, label_file
        self.store = FeatureStore(store, split) if store else None
        super().__init__(
            ann_file or osp.join(store or '', split),
            pipeline=[],
            data_prefix=dict(data_prefix),
            **kwargs,
        )

    def load_data_list(self) -> Sequence[dict]:
        """Read the list: ``filename`` and ``label`` of each sequence.

        ``broken`` is the reason why the extraction could not read a video.
        """
        if self.store is None:
            return load_files(
                self.ann_file,
                self.data_prefix['feature'],
                self.delimiter,
                self.multi_class,
                self.label_file or self.metainfo.get('classes'),
            )
        self.serialize_data = False
        return ClipInfos(self.store, range(len(self.store.clips)))

    def read(self, idx: int) -> dict:
        """Read one sequence.

        Returns:
            ``inputs``, [rows, C, T, h, w] as stored, and ``data_samples``.

        Raises:
            BrokenSampleError: If it cannot be read.
        """
        info = self.get_data_info(idx)
        if 'broken' in info:
            raise BrokenSampleError(info['filename'], info['broken'])
        if self.store is not None:
            row = None if self.test_mode else np.random.randint(self.store.rows(info['index']))
            feature, sample = self.store.read(info['index'], row)
            if 'captions' in sample and not self.test_mode:
                draw_caption(sample)
            return dict(inputs=feature, data_samples=sample)
        try:
            feature = read_sequence(info['filename'])
        except ValueError as error:
            raise BrokenSampleError(info['filename'], str(error)) from error
        sample = ActionDataSample(metainfo=dict(filename=info['filename']))
        return dict(inputs=feature, data_samples=sample.set_gt_label(info['label']))


class ClipInfos(Sequence):
    """``filename``, ``label`` and what else :func:`write_shard` knows, but the views."""

    def __init__(self, store: FeatureStore, rows: Sequence[int]) -> None:
        self.store, self.rows = store, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return ClipInfos(self.store, self.rows[item])
        clip = self.store.clips[self.rows[item]]
        return {key: unpack(value) for key, value in clip.items() if key != 'views'}
