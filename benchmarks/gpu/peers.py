"""ConvLSTM implementations to compare on a GPU, all with the same weights.

Each takes x [N, T, C, H, W] and returns the sequence of h.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlstm_mm.layers import ConvLSTM

KERNELS = 'CNNLSTM_MM_KERNELS'


class Case(NamedTuple):
    """x [batch, frames, inputs, size, size] to ``hidden`` channels, 3 x 3, 'same'."""

    batch: int
    frames: int
    inputs: int
    size: int
    hidden: int

    def __str__(self) -> str:
        return f'{self.batch}x{self.frames}x{self.inputs}x{self.size}x{self.size} -> {self.hidden}'

    @property
    def operations(self) -> int:
        """Operations of the forward convolutions; a multiply-add counts as two."""
        pixels = self.batch * self.frames * self.size**2
        return 2 * pixels * 4 * self.hidden * (self.inputs + self.hidden) * 9

    def least_bytes(self, item: int) -> int:
        """Bytes moved by a forward pass that keeps c, h and the weights on the chip."""
        pixels = self.batch * self.frames * self.size**2
        return item * pixels * (self.inputs + 2 * 4 * self.hidden + self.hidden)


CASES = [Case(2, 32, 1024, 7, 256), Case(32, 16, 1280, 7, 256), Case(16, 20, 64, 64, 64)]
SMALL_CASES = [Case(1, 2, 3, 4, 3)]


def build(case: Case, device: str, rehearse: bool) -> tuple[Tensor, list[Tensor], dict]:
    """x, the leaves of its gradients, and the peers by name."""
    torch.manual_seed(0)
    layer = ConvLSTM(case.inputs, case.hidden).to(device)
    x = torch.randn(*case[:3], case.size, case.size, device=device)
    # The layout of the features of a channels-last backbone.
    x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()
    w_x, w_h, bias = (getattr(layer, f'{k}_l0') for k in ('weight_ih', 'weight_hh', 'bias'))

    def cat_cell(x: Tensor, h: Tensor, c: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return cell(F.conv2d(torch.cat([x, h], 1), weight, bias, padding=1), c)

    # The weights of the compiled cell are inputs, so that one program serves all.
    compiled = torch.compile(cat_cell, dynamic=False, backend='eager' if rehearse else 'inductor')

    def cat_loop(step: Callable) -> Callable[[], Tensor]:
        def run() -> Tensor:
            weight = torch.cat([w_x, w_h], 1)
            h = c = x.new_zeros(case.batch, case.hidden, case.size, case.size)
            outputs = []
            for frame in x.unbind(1):
                h, c = step(frame, h, c, weight)
                outputs.append(h)
            return torch.stack(outputs, 1)

        return run

    def hoisted() -> Tensor:
        gates = F.conv2d(x.flatten(0, 1), w_x, bias, padding=1).unflatten(0, case[:2])
        weight = w_h.contiguous(memory_format=torch.channels_last)
        h = c = x.new_zeros(case.batch, case.hidden, case.size, case.size)
        outputs = []
        for z in gates.unbind(1):
            h, c = cell(z + F.conv2d(h, weight, padding=1), c)
            outputs.append(h)
        return torch.stack(outputs, 1)

    def ours() -> Tensor:
        return layer(x)[0]

    peers = {
        'ours': ours,
        'cat cell': cat_loop(cat_cell),
        'hoisted cuDNN': hoisted,
        'ours, persistent': ours,
        'ours, gemm': ours,
        'ours, update': ours,
        'ours, plain': ours,
        'cat cell, compiled': cat_loop(compiled),
    }
    return x, [x, w_x, w_h, bias], peers


def cell(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The LSTM's step from the pre-activations [N, 4 hidden, H, W]."""
    i, f, g, o = z.chunk(4, 1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@contextmanager
def kernels_of(peer: str) -> Iterator[None]:
    """Force the kernels in the name of our peer, in both directions."""
    name, _, kernels = peer.partition(', ')
    if name == 'ours' and kernels:
        os.environ[KERNELS] = kernels
    try:
        yield
    finally:
        os.environ.pop(KERNELS, None)
