"""The time loop of a ConvLSTM, forward and backward, without autograd.

Small frames: the input is convolved for all steps at once; backward takes all weight gradients over
all steps at once. Large frames, whose gates do not fit into the caches, and a single small step:
cat(x, h) is convolved, in both directions.

Backward takes the sequence of h, which is the output, and the activations of the four gates, which
forward keeps: as the step computed them, for what h and c say about a small gate has lost its
digits. The cell states follow from the activations by the step's own arithmetic, bit for bit. Exact
gradients so cost four values a step and pixel where autograd over the plain loop keeps seven.
Under autocast activations are float16, which has three bits more than bfloat16 for values in
[-1, 1], and every fourth cell state is kept, so that what they lost does not add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from . import convolution, pointwise
from .backward_convolutions import AtOnce, ByStep
from .dispatch import Problem, are_finite, choose
from .geometry import Geometry
from .reference_loop import schedule
from .state_maps import state_map

CELLS = 4  # steps from one kept cell state to the next under autocast


class Options(NamedTuple):
    """What both directions need to know; see ``fused.conv_lstm``."""

    peephole: Tensor | None
    mask: Tensor | None
    hard: float
    reverse: bool
    batch_sizes: Sequence[int] | None
    geometry: Geometry
    light_hh: Tensor | None = None


def empty_kept(x: Tensor, c0: Tensor, options: Options) -> list[Tensor]:
    """Room for what forward keeps: gates [n, 4 hidden, H, W] a step, cells [n, hidden, H, W]."""
    (batch, frames), (hidden, *size) = x.shape[:2], c0.shape[1:]
    counts = [n for _, n in schedule(frames, options.reverse, options.batch_sizes, batch)]
    dtype = kept_dtype(x, c0)
    gates = [c0.new_empty(n, 4 * hidden, *size, dtype=dtype) for n in counts]
    counts = [n for step, n in enumerate(counts) if _keeps_cell(step, dtype, c0)]
    return gates + [c0.new_empty(n, hidden, *size) for n in counts]


def _keeps_cell(step: int, dtype: torch.dtype, c0: Tensor) -> bool:
    """Whether the cell state after a step is kept, if activations are in ``dtype``."""
    return dtype != c0.dtype and step % CELLS == CELLS - 1


def kept_dtype(x: Tensor, c0: Tensor) -> torch.dtype:
    """The dtype of the activations that backward needs."""
    return c0.dtype if x.dtype == c0.dtype else torch.float16


def _is_stepwise(x: Tensor, weight_ih: Tensor | None, g: Geometry, h0: Tensor | None) -> bool:
    """Whether the input is convolved step by step, together with h."""
    if weight_ih is None:
        return False
    operation = 'layer' if h0 is None or x.shape[1] > 1 else 'single_step'
    return choose(operation, Problem.from_tensors(x[:, 0], weight_ih, g)) == 'stepwise'


def run_forward(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor,
    options: Options,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """All steps; see ``fused.conv_lstm`` for the arguments."""
    (batch, frames), finite = x.shape[:2], are_finite(x, h0)
    peephole, mask, hard, reverse, batch_sizes, g, light_hh = options
    gates, cells = [], []
    stepwise, weight, calls = _is_stepwise(x, weight_ih, g, h0), weight_hh, frames
    if stepwise:
        weight, calls = torch.cat([weight_ih, weight_hh], 1), 1
    elif weight_ih is not None:
        x = convolution.forward(x.flatten(0, 1), weight_ih, bias, g, finite)
        x = x.unflatten(0, (batch, frames))  # [N, T, 4 hidden, H', W']
    bias = bias if stepwise else None
    share = state_map(weight, light_hh, c0.shape[2:], batch, calls).share(bias, finite)
    c, dtype = c0.contiguous(), kept_dtype(x, c0)
    h = x.new_zeros(c.shape) if h0 is None else h0.to(x.dtype)
    sequence = (x.new_zeros if batch_sizes else x.new_empty)(batch, frames, *c.shape[1:])
    inputs, outputs = x.unbind(1), sequence.unbind(1)
    for step, (t, n) in enumerate(schedule(frames, reverse, batch_sizes, batch)):
        x_now, h_in = _first(inputs[t], n), _first(h, n)
        if mask is not None:
            h_in = (h_in * _first(mask, n)).to(weight.dtype)
        if stepwise:
            z = share(torch.cat([x_now, h_in], 1)).to(c.dtype)
        elif step == 0 and h0 is None:
            z = x_now.to(c.dtype, memory_format=torch.contiguous_format, copy=True)
        else:
            z = torch.add(x_now.to(c.dtype), share(h_in)).contiguous()
        h_now, c_now = pointwise.update_(z, _first(c, n), peephole, hard)
        _first(outputs[t], n).copy_(h_now)
        h, c = _join(h_now.to(x.dtype), h), _join(c_now, c)
        if save:
            gates.append(z.to(dtype))
            if _keeps_cell(step, dtype, c0):
                cells.append(c_now)
    return sequence, h, c.clone() if cells else c, gates + cells


def run_backward(
    x: Tensor | None,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    options: Options,
    sequence: Tensor,
    kept: list[Tensor],
    d_sequence: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    need_dx: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of x, both weights, the bias, h0, c0, the peephole and ``light_hh``."""
    peephole, mask, hard, reverse, batch_sizes, g, light_hh = options
    steps = schedule(sequence.shape[1], reverse, batch_sizes, len(sequence))
    c0 = c0.contiguous()
    gates = kept[: len(steps)]
    cells = _cells(gates, kept[len(steps) :], c0)
    stepwise = x is not None and _is_stepwise(x, weight_ih, g, h0)
    first_h = sequence.new_zeros(c0.shape) if h0 is None else h0.to(sequence.dtype)
    dh, dc = (
        torch.zeros_like(c0)
        if d is None
        else d.to(c0.dtype, memory_format=torch.contiguous_format, copy=True)
        for d in (dh, dc)
    )
    d_outputs = None if d_sequence is None else d_sequence.unbind(1)
    outputs = sequence.unbind(1)
    d_peephole = None if peephole is None else c0.new_zeros(3, *c0.shape[1:])
    given = x, weight_ih, weight_hh, light_hh, sequence, bool(batch_sizes), g, need_dx
    convolve = (ByStep if stepwise else AtOnce)(*given)
    for step, (t, n) in reversed([*enumerate(steps)]):
        c, h = c0, first_h
        if step:
            before, there = steps[step - 1]
            c, h = _rows(cells[step - 1], c0, n), _rows(_first(outputs[before], there), first_h, n)
        c, h = _first(c, n), _first(h, n)
        if mask is not None:
            h = h * _first(mask, n)
        dh_now, dc_now = _first(dh, n), _first(dc, n)
        if d_outputs is not None:
            dh_now += _first(d_outputs[t], n)
        activations = gates[step].to(c0.dtype)
        d = pointwise.update_backward_(activations, cells[step], c, dh_now, dc_now, peephole, hard)
        if peephole is not None:
            for k, (gate, state) in enumerate(((0, c), (1, c), (3, cells[step]))):
                d_peephole[k] += (d.chunk(4, 1)[gate] * state).sum(0)
        wanted = step > 0 or h0 is not None
        d_h = convolve.step(t, d.to(weight_hh.dtype), h.to(weight_hh.dtype), wanted)
        if wanted:
            dh_now.copy_(d_h)
            if mask is not None:
                dh_now *= _first(mask, n)
    dx, d_weight_ih, d_weight_hh, d_bias, d_light_hh = convolve.gradients()
    d_bias = None if d_bias is None else d_bias.to(weight_hh.dtype)
    d_peephole = None if peephole is None else d_peephole.sum_to_size(peephole.shape).clone()
    dh = None if h0 is None else dh.to(h0.dtype)
    return dx, d_weight_ih, d_weight_hh, d_bias, dh, dc, d_peephole, d_light_hh


def _cells(gates: list[Tensor], kept: list[Tensor], c0: Tensor) -> list[Tensor]:
    """The cell states after all steps, from the activations and the cell states that were kept."""
    cells: list[Tensor] = []
    for step, activations in enumerate(gates):
        if _keeps_cell(step, activations.dtype, c0):
            cells.append(kept[step // CELLS])
            continue
        n = activations.shape[0]
        before = _rows(cells[-1], c0, n) if cells else _first(c0, n)
        i, f, g, _ = activations.to(c0.dtype).chunk(4, 1)
        cells.append(pointwise.next_cell(i, f, g, before))
    return cells


def _first(state: Tensor, n: int) -> Tensor:
    """The first ``n`` samples."""
    return state if state.shape[0] == n else state[:n]


def _join(state: Tensor, before: Tensor) -> Tensor:
    """The new states of the first samples, the old ones of the others, which have no frame."""
    n = state.shape[0]
    return state if n == before.shape[0] else torch.cat([state, before[n:]])


def _rows(state: Tensor, first: Tensor, n: int) -> Tensor:
    """The states of ``n`` samples before a step: ``state``, and ``first`` of those that begin."""
    there = state.shape[0]
    return _first(state, n) if n <= there else torch.cat([state, first[there:n]])
