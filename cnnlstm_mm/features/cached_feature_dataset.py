"""Features in the place of videos."""

import os.path as osp
from typing import Any

import numpy as np

from cnnlstm_mm.datasets.annotation_list import load_files
from cnnlstm_mm.datasets.replacing import BrokenSampleError, ReplacingMixin
from mmaction.datasets import BaseActionDataset
from mmaction.registry import DATASETS
from mmaction.structures import ActionDataSample

from .sequence_file import read_sequence
from .store import FeatureStore


@DATASETS.register_module()
class CachedFeatureDataset(ReplacingMixin, BaseActionDataset):
    """Sequences of features, of any length, for neck and head.

    They come from a store of ``tools/extract_features.py`` (``store`` and
    ``split``), or from one file a sequence (``ann_file``). In training one of
    the stored views of a clip is drawn at random, in test mode all are used.
    The model needs ``FeatureDataPreprocessor`` and ``PrecomputedFeatures``;
    :func:`use_features` puts all three into a config of videos.

    Args:
        ann_file (str): A list of sequence files, see :func:`read_list` and
            :func:`read_sequence`. Defaults to ''.
        data_prefix (dict): ``feature``: the folder that its paths start from.
            Defaults to ``dict(feature='')``.
        store (str, optional): The folder of a store. Defaults to None.
        split (str): Which of its splits. Defaults to 'train'.
        delimiter (str): Of the list. Defaults to ' '.
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
        **kwargs: Any,
    ) -> None:
        if bool(ann_file) == bool(store):
            raise ValueError(
                'CachedFeatureDataset takes ann_file, a list of '
                'sequence files, or store, the folder of '
                'tools/extract_features.py: one of them.'
            )
        self.delimiter = delimiter
        self.store = FeatureStore(store, split) if store else None
        super().__init__(
            ann_file or osp.join(store or '', split),
            pipeline=[],
            data_prefix=dict(data_prefix),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the list.

        Returns:
            list[dict]: ``filename`` and ``label`` of each sequence, and
            ``broken`` where the extraction could not read the video.
        """
        if self.store is not None:
            return [dict(clip) for clip in self.store.clips]
        return load_files(
            self.ann_file, self.data_prefix['feature'], self.delimiter, self.multi_class
        )

    def read(self, idx: int) -> dict:
        """Read one sequence.

        Args:
            idx (int): The sequence.

        Returns:
            dict: ``inputs``, [views, C, T, h, w] as stored, and
            ``data_samples`` with label and file name.

        Raises:
            BrokenSampleError: If it cannot be read.
        """
        info = self.get_data_info(idx)
        if 'broken' in info:
            raise BrokenSampleError(info['filename'], info['broken'])
        if self.store is None:
            try:
                feature = read_sequence(info['filename'])
            except ValueError as error:
                raise BrokenSampleError(info['filename'], str(error)) from error
        else:
            view = None if self.test_mode else np.random.randint(self.store.views(info['index']))
            feature = self.store.read(info['index'], view)
        sample = ActionDataSample().set_gt_label(info['label'])
        sample.set_metainfo(dict(filename=info['filename']))
        return dict(inputs=feature, data_samples=sample)
