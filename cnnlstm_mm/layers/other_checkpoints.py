"""Weights of the common PyTorch ConvLSTMs as a ConvLSTM of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cnnlstm_mm.text import natural_key

from .conv_lstm import ConvLSTM

OURS = 'ifgo'
SEPARATE = 'ifco'  # the letters of a convolution for each gate: c is the candidate g


class Cell(NamedTuple):
    """Weights of one cell, gates in our order."""

    name: str
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor | None
    peephole: Tensor | None


def load_convlstm(
    checkpoint: str | Path | Mapping[str, Tensor], prefix: str = '', gate_order: str | None = None
) -> ConvLSTM:
    """A ConvLSTM with the weights of another implementation; equal results from a zero state.

    Layouts, by the names of the weights of a cell:

    - ``conv`` or ``Gates``, one convolution of cat(x, h), gates i, f, o, g
      (github.com/ndrplz/ConvLSTM_pytorch, github.com/Atcold/pytorch-CortexNet)
    - ``conv_x.0`` and ``conv_h.0``, gates i, f, g, o (github.com/chengtan9907/OpenSTL, without
      LayerNorm; its ``conv_o`` and ``conv_last`` of a cell compute nothing)
    - ``Wxi``, ``Whi``, ``Wxf`` ..., with or without the peepholes ``Wci``, ``Wcf``, ``Wco``
      (github.com/automan000/Convolutional_LSTM_PyTorch)

    All cells under ``prefix`` are one stack, in the order of their names.

    Args:
        checkpoint: a file of ``torch.save``, or the tensors by name, also under 'state_dict'.
        prefix: of the names of the stack's weights, such as 'encoder.', where there are others.
        gate_order: in ``conv``, ``Gates`` or ``conv_x``, such as 'ifgo'; None for the above.

    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: for a checkpoint without cells, with cells of an unknown kind, or with cells
            that do not fit on one another.
    """
    where = 'the checkpoint' if isinstance(checkpoint, Mapping) else str(checkpoint)
    state = checkpoint
    if not isinstance(checkpoint, Mapping):
        state = torch.load(checkpoint, map_location='cpu', weights_only=True)
    state = state.get('state_dict', state)
    if gate_order is not None and sorted(gate_order) != sorted(OURS):
        raise ValueError(f"gate_order: expected the letters of 'ifgo', got {gate_order!r}")
    state = {k.removeprefix('module.'): v for k, v in state.items() if isinstance(v, Tensor)}
    state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    cells = _find_cells(state, gate_order)
    if not cells:
        raise ValueError(
            f'{where}: expected a ConvLSTM cell under {prefix!r} (conv, Gates, conv_x and conv_h, '
            f'or Wxi, Whi ...), got {sorted(state)[:6]}; fix: pass the prefix of its names'
        )
    _check_stack(cells, where)
    layer = _build(cells)
    with torch.no_grad():
        for k, cell in enumerate(cells):
            _fill(layer, k, cell)
    return layer


def _find_cells(state: dict[str, Tensor], order: str | None) -> list[Cell]:
    found = {}
    for key in state:
        match = re.fullmatch(r'(|.*\.)(conv|Gates|conv_x\.0|Wxi)\.weight', key)
        if match and state[key].dim() == 4:
            name, kind = match.groups()
            read = dict(Wxi=_read_separate).get(kind) or (
                _read_split if kind == 'conv_x.0' else _read_joint
            )
            try:
                cell = read(state, name, kind, order)
            except KeyError as missing:
                raise ValueError(f'{key}: expected {missing} beside it, got none') from None
            if cell:
                found[name] = cell
        elif key.endswith('conv.0.weight') and f'{key[:-8]}1.weight' in state:
            raise ValueError(
                f'{key[: -len("0.weight")]}1: expected gates without normalization, got a layer '
                'after the convolution (GroupNorm), which ConvLSTM lacks'
            )
    return [found[name] for name in sorted(found, key=natural_key)]


def _read_joint(state: dict, name: str, kind: str, order: str | None) -> Cell | None:
    weight, bias = (state.get(f'{name}{kind}.{part}') for part in ('weight', 'bias'))
    hidden = weight.shape[0] // 4
    if weight.shape[0] % 4 or weight.shape[1] <= hidden:
        return None  # another convolution of this name
    weight, bias = (_reorder(t, order or 'ifog') for t in (weight, bias))
    return Cell(name, weight[:, :-hidden], weight[:, -hidden:], bias, None)


def _read_split(state: dict, name: str, kind: str, order: str | None) -> Cell:
    if f'{name}conv_x.1.weight' in state:
        raise ValueError(
            f'{name}conv_x.1: expected a cell without LayerNorm, got one over channels and pixels; '
            'ConvLSTM(norm=True) normalizes over channels alone'
        )
    weights = (state[f'{name}{part}.0.weight'] for part in ('conv_x', 'conv_h'))
    tensors = *weights, state.get(f'{name}conv_x.0.bias')
    return Cell(name, *(_reorder(t, order or OURS) for t in tensors), None)


def _read_separate(state: dict, name: str, kind: str, order: str | None) -> Cell:
    def joined(pattern: str) -> Tensor:
        return torch.cat([state[f'{name}{pattern.format(gate)}'] for gate in SEPARATE])

    biases = [
        pattern for pattern in ('Wx{}.bias', 'Wh{}.bias') if f'{name}{pattern.format("i")}' in state
    ]
    bias = sum(map(joined, biases)) if biases else None
    names = [f'{name}Wc{gate}' for gate in 'ifo']
    peephole = torch.cat([state[n] for n in names]) if names[0] in state else None
    return Cell(name, joined('Wx{}.weight'), joined('Wh{}.weight'), bias, peephole)


def _reorder(tensor: Tensor | None, order: str) -> Tensor | None:
    if tensor is None:
        return None
    gates = tensor.chunk(4)
    return torch.cat([gates[order.index(gate)] for gate in OURS])


def _check_stack(cells: list[Cell], where: str) -> None:
    sizes = [cell.weight_hh.shape[1] for cell in cells]
    inputs = [cell.weight_ih.shape[1] for cell in cells]
    kernels = {tuple(w.shape[2:]) for cell in cells for w in (cell.weight_ih, cell.weight_hh)}
    for cell in cells:
        gates = {len(cell.weight_ih), len(cell.weight_hh)}
        if gates != {4 * cell.weight_hh.shape[1]}:
            raise ValueError(
                f'{where}: expected 4 gates of {cell.weight_hh.shape[1]} channels in {cell.name}, '
                f'got convolutions of {sorted(gates)} (a PredRNN?)'
            )
    shapes = [f'{c.name or "."} {i} to {s}' for c, i, s in zip(cells, inputs, sizes)]
    if inputs[1:] != sizes[:-1]:
        raise ValueError(
            f'{where}: expected cells that each take the channels of the one before, got '
            f'{", ".join(shapes)}; fix: pass the prefix of one stack'
        )
    if len(kernels) != 1 or any(not k % 2 for k in next(iter(kernels))):
        raise ValueError(
            f'{where}: expected one odd kernel size in all cells, got {sorted(kernels)}'
        )


def _build(cells: list[Cell]) -> ConvLSTM:
    sizes = [cell.weight_hh.shape[1] for cell in cells]
    maps = {tuple(c.peephole.shape[1:]) for c in cells if c.peephole is not None}
    if len(maps) > 1 and {m[1:] for m in maps} != {next(iter(maps))[1:]}:
        raise ValueError(f'expected peepholes of one size, got {sorted(maps)}')
    same = len({*sizes}) == 1
    return ConvLSTM(
        cells[0].weight_ih.shape[1],
        sizes[0] if same else sizes,
        tuple(cells[0].weight_ih.shape[2:]),
        num_layers=len(sizes),
        bias=any(cell.bias is not None for cell in cells),
        peephole=next(iter(maps))[1:] if maps else False,
    ).to(cells[0].weight_ih.dtype)


def _fill(layer: ConvLSTM, k: int, cell: Cell) -> None:
    for name in ('weight_ih', 'weight_hh', 'bias', 'peephole'):
        parameter = getattr(layer, f'{name}_l{k}', None)
        value = getattr(cell, name)
        if parameter is not None:
            parameter.copy_(value.view_as(parameter)) if value is not None else parameter.zero_()
