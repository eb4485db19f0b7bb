"""Batches whose samples have different numbers of frames."""

from __future__ import annotations

import torch
from torch import Tensor


class Ragged:
    """Samples sorted by length: those with a frame at step t are the first ``batch_sizes[t]``.

    Args:
        lengths: [N], how many frames of each sample count, 1 to T.
        x: [N, T, ...].

    Raises:
        ValueError: for another number of lengths, or one that is not in 1 to T.
    """

    def __init__(self, lengths: Tensor, x: Tensor) -> None:
        lengths = torch.as_tensor(lengths, device='cpu')
        batch, frames = x.shape[:2]
        if (
            lengths.shape != (batch,)
            or lengths.is_floating_point()
            or (batch and not 1 <= lengths.min() <= lengths.max() <= frames)
        ):
            raise ValueError(
                f'lengths: expected {batch} ints from 1 to {frames}, got {lengths.tolist()}'
            )
        lengths, order = lengths.sort(descending=True, stable=True)
        valid = lengths[:, None] > torch.arange(frames)  # [N, T]
        self.batch_sizes = valid.sum(0).tolist()
        self.lengths, self.order, self.valid = (t.to(x.device) for t in (lengths, order, valid))
        self.back = self.order.argsort()

    def sort(self, x: Tensor) -> Tensor:
        """``x`` [N, T, C, H, W], the longest sample first, and 0 in frames that do not count."""
        return x[self.order].masked_fill(~self.valid[..., None, None, None], 0)

    def flip(self, x: Tensor) -> Tensor:
        """Each sorted sample's frames that count in the opposite order."""
        steps = torch.arange(x.shape[1], device=x.device)
        index = torch.where(self.valid, self.lengths[:, None] - 1 - steps, steps)  # [N, T]
        return x[torch.arange(x.shape[0], device=x.device)[:, None], index]
