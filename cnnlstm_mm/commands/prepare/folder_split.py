"""Stratified split of clips that keeps groups apart."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .folder_samples import Sample


def split_samples(
    samples: Sequence[Sample], shares: dict[str, float], seed: int = 0
) -> dict[str, list[Sample]]:
    """Divide clips so that each list has its share of each class, and no group is in two lists.

    Groups go, the largest first, to the list that lacks most of their classes' clips; the training
    list keeps at least one group of each class.

    Args:
        samples: Clips; those that say their split go there, all of them or none.
        shares: Share of the clips by list, 'train' among them; the sum is 1.
        seed: Of the order of groups of one size.

    Returns:
        Clips by list, in their order.

    Raises:
        ValueError: If a class has no clip for training, or a list stays empty.
    """
    if samples and samples[0].split:
        place = {sample.path: sample.split for sample in samples}
    else:
        place = _divide(samples, shares, seed)
    lists: dict[str, list[Sample]] = {name: [] for name in ('train', 'val', 'test')}
    for sample in samples:
        lists[place[sample.path]].append(sample)
    _check(lists)
    return {name: chosen for name, chosen in lists.items() if chosen}


def _divide(samples: Sequence[Sample], shares: dict[str, float], seed: int) -> dict[str, str]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(sample)
    classes = {name: k for k, name in enumerate(sorted({n for s in samples for n in s.labels}))}
    counts = np.zeros((len(groups), len(classes)))  # clips of each class in each group
    for row, members in enumerate(groups.values()):
        for name, count in Counter(n for s in members for n in s.labels).items():
            counts[row, classes[name]] = count
    names = [name for name, share in shares.items() if share > 0]
    wanted = np.outer([shares[name] for name in names], counts.sum(0))  # [lists, classes]
    have = np.zeros_like(wanted)
    left = (counts > 0).sum(0)  # groups of each class that are not placed
    order = np.random.default_rng(seed).permutation(len(groups))
    place, members_of = {}, list(groups.values())
    for row in sorted(order, key=lambda row: -counts[row].sum()):
        count, own = counts[row], counts[row] > 0
        # What a list lacks of these classes, in units of what it should have.
        lacks = ((wanted - have) * own / np.maximum(wanted, 1e-9)).sum(1)
        train = names.index('train')
        if (own & (left <= 1) & (have[train] == 0)).any():  # the last chance of a class
            chosen = train
        else:
            chosen = int(lacks.argmax())
        have[chosen] += count
        left -= own
        place.update({sample.path: names[chosen] for sample in members_of[row]})
    return place


def _check(lists: dict[str, list[Sample]]) -> None:
    trained = {name for sample in lists['train'] for name in sample.labels}
    for name in ('val', 'test'):
        new = {n for sample in lists[name] for n in sample.labels} - trained
        if new:
            raise ValueError(
                f'expected clips of each class for training, got none of {", ".join(sorted(new))}; '
                'fix: add clips, or other groups'
            )
    if not lists['train'] or not (lists['val'] or lists['test']):
        empty = 'validation' if lists['train'] else 'training'
        raise ValueError(
            f'expected clips for training and for validation, got none for {empty}; fix: add '
            'clips, or a --group-regex that makes at least two groups'
        )
