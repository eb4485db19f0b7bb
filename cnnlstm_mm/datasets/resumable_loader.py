"""Data loader that can begin anywhere in an epoch, with the same samples."""

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from torch.utils.data import BatchSampler, DataLoader, Dataset

from .seeding import seed_everything

Item = tuple[int, tuple[int, ...]]


class SeededDataset(Dataset):
    """Reads a sample with a random state that comes with its number.

    Args:
        dataset: The data set; its attributes can be reached here.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, 'dataset', name)

    def __getitem__(self, item: Any) -> Any:
        """Read a sample, given as its number and the key of :func:`seed_everything`.

        The number alone leaves the random state as it is.
        """
        if isinstance(item, tuple):
            item, key = item
            seed_everything(*key)
        return self.dataset[item]


class ResumableBatchSampler:
    """The batches of another sampler, from any of them on.

    Each sample carries the key (seed, epoch, place in the epoch) for :class:`SeededDataset`. The
    place counts the samples of all processes, so that N processes augment a sample as one
    process does.

    ``DefaultSampler`` repeats the first samples of an epoch where the data set cannot be divided
    by the number of processes. They are left out here, and :meth:`weight` says how much the loss
    of each process counts then. A process that would have none at all keeps one, with weight 0.

    Args:
        batch_sampler: Of the data loader.
    """

    def __init__(self, batch_sampler: Any) -> None:
        self.batch_sampler = batch_sampler
        self.rank, self.processes = get_dist_info()
        self.key = (0, 0)
        self.first = 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, 'batch_sampler', name)

    @property
    def global_batch(self) -> int:
        """Samples that all processes take in one iteration."""
        return self.batch_size * self.processes

    def start(self, seed: int, epoch: int, first: int = 0) -> None:
        """Set where the next iteration over the batches begins.

        Args:
            seed: Of the run.
            epoch: Counted from 0.
            first: Batches of the epoch to leave out.
        """
        self.key = (seed, epoch)
        self.first = first

    def __iter__(self) -> Iterator[list[Item]]:
        return self._batches(self.key, self.first)

    def _batches(self, key: tuple[int, int], first: int) -> Iterator[list[Item]]:
        place = self.rank
        for number, batch in enumerate(self.batch_sampler):
            places = range(place, place + len(batch) * self.processes, self.processes)
            place += len(batch) * self.processes
            if number >= first:
                own, _ = self._counts(number)
                yield [
                    (index, (*key, where))
                    for index, where in list(zip(batch, places))[: max(own, 1)]
                ]

    def weight(self, number: int) -> float:
        """Weight of this process's mean loss in a batch, counted from 0 in the epoch.

        Returns:
            1 where all processes have as many samples, 0 where this one has only a sample that
            another one counts.
        """
        own, total = self._counts(number)
        return own * self.processes / total

    def _counts(self, number: int) -> tuple[int, int]:
        """Samples of a batch in this process and in all, each counted once."""
        full = self.batch_size, self.global_batch
        if not self._repeats:
            return full
        left = len(self.sampler.dataset) - number * self.global_batch
        if left >= self.global_batch:
            return full
        return max(-(-(left - self.rank) // self.processes), 0), left

    @property
    def _repeats(self) -> bool:
        sampler = self.sampler
        return (
            type(sampler) is DefaultSampler
            and sampler.round_up
            and type(self.batch_sampler) is BatchSampler
        )


def _attribute(wrapper: Any, wrapped: str, name: str) -> Any:
    # Pickling and data loaders ask for names that must not be passed on.
    if name.startswith('__') or wrapped not in vars(wrapper):
        raise AttributeError(name)
    return getattr(vars(wrapper)[wrapped], name)


def resumable(loader: DataLoader) -> DataLoader:
    """Copy a loader with :class:`SeededDataset` and :class:`ResumableBatchSampler` in it."""
    loader = copy.copy(loader)
    # DataLoader refuses to set them, and has too many options to rebuild it.
    vars(loader).update(
        dataset=SeededDataset(loader.dataset),
        batch_sampler=ResumableBatchSampler(loader.batch_sampler),
    )
    return loader
