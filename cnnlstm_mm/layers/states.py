"""States of a stack of layers: one block a layer and direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlstm_mm.options import check_sizes

from .geometry import Pair


class StateLayout:
    """How the states of all layers lie in one tensor.

    Layers of one size are stacked, [layers * directions, N, hidden, H, W]; of different sizes,
    given as a list, their channels lie one after another, [directions, N, sum(hidden), H, W].

    Args:
        hidden: channels of every layer, or a list of those of each.
        layers: their number.
        directions: 1 or 2.

    Attributes:
        hidden: as given, a list as a tuple.
        sizes: channels of each layer.

    Raises:
        ValueError: for a size or number out of range, or a list of another length.
    """

    def __init__(self, hidden: int | Sequence[int], layers: int, directions: int) -> None:
        self.hidden, layers = check_sizes(hidden, layers)
        self.stacked = not isinstance(self.hidden, tuple)
        self.sizes = (self.hidden,) * layers if self.stacked else self.hidden
        self.directions = directions

    def shape(self, batch: int) -> tuple[int, int, int]:
        """Of h without H and W."""
        if self.stacked:
            return len(self.sizes) * self.directions, batch, self.sizes[0]
        return self.directions, batch, sum(self.sizes)

    def check(self, state: Sequence[Tensor], x: Tensor, size: Pair, names: Sequence[str]) -> None:
        """Raise ValueError unless ``state`` is all of ``names`` for x and maps of ``size``."""
        shape = [*self.shape(x.shape[0]), *size]
        if len(state) != len(names) or any(list(s.shape) != shape for s in state):
            raise ValueError(
                f'state: expected ({", ".join(names)}), each {shape} for x {list(x.shape)}, '
                f'got {[list(s.shape) for s in state]}; None stands for zeros'
            )

    def split(self, state: Tensor) -> list[Tensor]:
        """Blocks [N, hidden, H, W], the directions of a layer one after another."""
        if self.stacked:
            return list(state)
        return [block for part in state.split(self.sizes, 2) for block in part]

    def join(self, blocks: Sequence[Tensor]) -> Tensor:
        """As ``split``, the other way."""
        if self.stacked:
            return torch.stack(tuple(blocks))
        step = self.directions
        layers = [torch.stack(blocks[k : k + step]) for k in range(0, len(blocks), step)]
        return torch.cat(layers, 2)

    def last(self, state: Tensor) -> Tensor:
        """Last layer's [directions, N, hidden, H, W]."""
        if self.stacked:
            return state[-self.directions :]
        return state[:, :, -self.sizes[-1] :]
