"""Replacement of samples that cannot be read, marked for the log."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

MAX_ATTEMPTS = 100


class BrokenSampleError(RuntimeError):
    """A sample that cannot be read: its file, and the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'{name}: {reason}')
        self.name = name
        self.reason = reason


class ReplacingMixin:
    """Put another sample in the place of a broken one, and mark it.

    The sample then carries ``broken``, a tuple of (file, reason), in the meta information of its
    ``data_samples``. It travels from the worker to the main process, where
    :class:`BrokenVideoHook` names and counts it.

    In training the other sample is drawn at random and keeps its own label. In test mode it only
    fills the batch: label, captions and file name are those of the broken sample, and the hook
    stops the test or counts it as wrong.

    Classes that mix it in have :meth:`read`, which raises :class:`BrokenSampleError`.
    """

    test_mode: bool
    ann_file: str
    get_data_info: Callable[[int], dict]
    __len__: Callable[[], int]

    def read(self, idx: int) -> Any:
        """Read the sample at ``idx``."""
        raise NotImplementedError

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of a sample, for mmengine's ClassBalancedDataset."""
        label = torch.as_tensor(self.get_data_info(idx)['label'])
        return (label.nonzero().flatten() if label.dim() else label[None]).tolist()

    def prepare_data(self, idx: int) -> Any:
        """Read the sample at ``idx``, or another one in its place.

        Raises:
            RuntimeError: If no sample can be read in ``MAX_ATTEMPTS`` places.
        """
        broken: dict[str, str] = {}
        place = idx
        for _ in range(MAX_ATTEMPTS):
            try:
                data = self.read(place)
            except BrokenSampleError as error:
                broken[error.name] = error.reason
                place = (place + 1) % len(self) if self.test_mode else np.random.randint(len(self))
                continue
            if broken and data is not None:
                self._mark(data, idx, tuple(broken.items()))
            return data
        named = ''.join(f'\n  {name}: {reason}' for name, reason in broken.items())
        raise RuntimeError(
            f'{MAX_ATTEMPTS} samples of {self.ann_file} in a row could not be read:{named}'
        )

    def _mark(self, data: dict, idx: int, broken: tuple[tuple[str, str], ...]) -> None:
        sample = data['data_samples']
        if self.test_mode:
            info = self.get_data_info(idx)
            sample.set_gt_label(info['label'])
            if 'filename' in sample:
                sample.set_metainfo(dict(filename=info['filename']))
            if 'captions' in info:
                sample.set_metainfo(dict(captions=info['captions']))
        sample.set_metainfo(dict(broken=broken))
