"""Views of clips whose augmentation depends only on their numbers."""

from typing import Any

import cv2
import torch
from torch.utils.data import Dataset

from cnnlstm_mm.datasets.replacing import BrokenSampleError
from cnnlstm_mm.datasets.seeding import seed_everything


class SeededViews(Dataset):
    """Item ``k`` is view ``k % views`` of clip ``k // views``.

    The random state is set for each item, so that its bytes depend neither on the order,
    nor on workers, processes or restarts.

    Args:
        dataset: A :class:`CheckedVideoDataset`.
        views: Augmented views of each clip.
        seed: Of the augmentation.
    """

    def __init__(self, dataset: Any, views: int, seed: int) -> None:
        self.dataset = dataset
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset) * self.views

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Read one view: ``inputs``, uint8 [V, 3, T, H, W], and ``data_samples``.

        ``broken``, the reason, stands for both where the clip cannot be read.
        """
        clip, view = divmod(item, self.views)
        seed_everything(self.seed, clip, view)
        try:
            return self.dataset.read(clip)
        except BrokenSampleError as error:
            return dict(broken=error.reason)


def shard_batches(
    clips: int, views: int, shards: list[int], shard_clips: int, batch_size: int
) -> list[list[int]]:
    """Cut shards into batches of items of :class:`SeededViews`.

    No batch holds items of two shards, so that a shard is computed in the same batches whichever
    process does it, and after any restart.

    Args:
        clips: Of the split.
        views: Of each clip.
        shards: The shards to cut.
        shard_clips: Clips of a shard; the last one may have fewer.
        batch_size: Items of a batch; the last of a shard may have fewer.
    """
    batches = []
    for shard in shards:
        first = shard * shard_clips * views
        last = min((shard + 1) * shard_clips, clips) * views
        for start in range(first, last, batch_size):
            batches.append(list(range(start, min(start + batch_size, last))))
    return batches


def one_thread(worker: int) -> None:
    """Let a worker that decodes use one thread: there is one worker per core."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
