"""Orders of a clip's frames, and the accuracy in each."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

SHUFFLED = 'shuffled'


def frame_orders(clip_len: int, number: int, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """The orders in which a clip is shown to the model.

    Args:
        clip_len: Frames T of a clip.
        number: Of the video in its list: each has its own shuffles.
        seeds: One shuffle for each.

    Returns:
        Indices [T] by name: 'in order', 'reversed', 'shuffled S' for each seed, 'frozen' (the
        middle frame all the time) and 'half' (every second frame, each twice, so that models for
        T frames take it).
    """
    steps = np.arange(clip_len)
    orders = {'in order': steps, 'reversed': steps[::-1]}
    for seed in seeds:
        orders[f'{SHUFFLED} {seed}'] = np.random.default_rng([seed, number]).permutation(clip_len)
    orders['frozen'] = np.full(clip_len, clip_len // 2)
    orders['half'] = steps // 2 * 2
    return orders


def reorder(inputs: torch.Tensor, order: np.ndarray) -> torch.Tensor:
    """Bring the frames of a video's views [views, C, T, H, W] into an order of indices [T].

    Raises:
        ValueError: If the inputs are not clips.
    """
    if inputs.dim() != 5:
        raise ValueError(
            'expected clips [views, C, T, H, W] from the test pipeline, got '
            f'{tuple(inputs.shape)}; fix: use FormatShape(input_format="NCTHW")'
        )
    return inputs[:, :, torch.from_numpy(order.copy())]


class OrderScores:
    """Count correct answers by order and class.

    Args:
        classes: Their names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = list(classes)
        self.answers: dict[str, list[tuple[int, int]]] = {}

    def add(self, name: str, label: int, answer: int) -> None:
        """Count one answer to a video in one order."""
        self.answers.setdefault(name, []).append((label, answer))

    def summary(self) -> dict[str, Any]:
        """Accuracy by order and class.

        Returns:
            ``top1``, a share for each order, with 'shuffled' the mean over seeds;
            ``shuffled_by_seed``; ``per_class``, for each class the same shares, ``videos``, and
            ``reversed_as``, the most frequent answer to its videos when they run backwards.
        """
        right = {
            name: np.array([a == b for a, b in pairs], float)
            for name, pairs in self.answers.items()
        }
        labels = np.array([label for label, _ in self.answers['in order']])
        shuffled = {name: hits for name, hits in right.items() if name.startswith(SHUFFLED)}
        merged = {name: hits for name, hits in right.items() if name not in shuffled}
        if shuffled:
            merged[SHUFFLED] = np.mean(list(shuffled.values()), axis=0)
        names = [
            name for name in ('in order', 'reversed', SHUFFLED, 'frozen', 'half') if name in merged
        ]
        backwards = np.array([answer for _, answer in self.answers['reversed']])
        shares: dict[str, dict[str, Any]] = {}
        for k, cls in enumerate(self.classes):
            chosen = labels == k
            if chosen.any():
                shares[cls] = {name: float(merged[name][chosen].mean()) for name in names}
                shares[cls]['videos'] = int(chosen.sum())
                shares[cls]['reversed_as'] = self.classes[np.bincount(backwards[chosen]).argmax()]
        return dict(
            videos=len(labels),
            chance=1 / len(self.classes),
            top1={name: float(merged[name].mean()) for name in names},
            shuffled_by_seed={
                name.split()[1]: float(hits.mean()) for name, hits in shuffled.items()
            },
            per_class=shares,
        )
