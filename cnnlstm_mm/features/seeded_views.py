"""Views of clips whose augmentation depends on nothing but their numbers."""

from typing import Any

from torch.utils.data import Dataset

from cnnlstm_mm.datasets.replacing import BrokenSampleError
from cnnlstm_mm.datasets.seeding import seed_everything


class SeededViews(Dataset):
    """Item ``k`` is view ``k % views`` of clip ``k // views``.

    The random state is set anew for each item, so that its bytes depend
    neither on the order, nor on workers, processes or restarts.

    Args:
        dataset (Dataset): A :class:`CheckedVideoDataset`.
        views (int): Augmented views of each clip.
        seed (int): Of the augmentation.
    """

    def __init__(self, dataset: Any, views: int, seed: int) -> None:
        self.dataset = dataset
        self.views = views
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset) * self.views

    def __getitem__(self, item: int) -> dict[str, Any]:
        """Read one view.

        Args:
            item (int): See above.

        Returns:
            dict: ``inputs`` (uint8 tensor [V, 3, T, H, W]) and
            ``data_samples``, or ``broken``, the reason.
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
    """Cut shards into batches of items.

    No batch holds items of two shards, so that a shard is computed in the
    same batches whichever process does it, and after any restart.

    Args:
        clips (int): Clips of the split.
        views (int): Views of each clip.
        shards (list[int]): The shards to cut.
        shard_clips (int): Clips of a shard; the last one may have fewer.
        batch_size (int): Items of a batch; the last of a shard may have
            fewer.

    Returns:
        list[list[int]]: Items by batch.
    """
    batches = []
    for shard in shards:
        first = shard * shard_clips * views
        last = min((shard + 1) * shard_clips, clips) * views
        for start in range(first, last, batch_size):
            batches.append(list(range(start, min(start + batch_size, last))))
    return batches
