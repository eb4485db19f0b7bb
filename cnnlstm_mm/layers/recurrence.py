"""The time loop of a ConvLSTM, forward and backward, without autograd.

Small frames: the input is convolved for all steps at once; backward takes all weight gradients over
all steps at once. Large frames, whose gates do not fit into the caches: every step convolves
cat(x, h) once, in both directions.

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
from .convolution import weight_gradient
from .dispatch import Problem, are_finite, choose
from .geometry import Geometry, geometry
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


def _is_stepwise(x: Tensor, weight_ih: Tensor | None, g: Geometry) -> bool:
    """Whether the input is convolved step by step."""
    if weight_ih is None:
        return False
    return choose('layer', Problem.from_tensors(x[:, 0], weight_ih, g)) == 'stepwise'


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
    stepwise, weight, calls = _is_stepwise(x, weight_ih, g), weight_hh, frames
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
    for step, (t, n) in enumerate(schedule(frames, reverse, batch_sizes, batch)):
        h_in = (h[:n] if mask is None else h[:n] * mask[:n]).to(weight.dtype)
        if stepwise:
            z = share(torch.cat([x[:n, t], h_in], 1)).to(c.dtype)
        elif step == 0 and h0 is None:
            z = x[:n, t].to(c.dtype, memory_format=torch.contiguous_format, copy=True)
        else:
            z = torch.add(x[:n, t].to(c.dtype), share(h_in)).contiguous()
        h_now, c_now = pointwise.update_(z, c[:n], peephole, hard)
        sequence[:n, t] = h_now
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
    batch, frames = sequence.shape[:2]
    peephole, mask, hard, reverse, batch_sizes, g, light_hh = options
    steps = schedule(frames, reverse, batch_sizes, batch)
    c0 = c0.contiguous()
    gates = kept[: len(steps)]
    cells = _cells(gates, kept[len(steps) :], c0)
    stepwise, inputs = x is not None and _is_stepwise(x, weight_ih, g), 0
    weight, same = weight_hh, geometry(c0.shape[2:], weight_hh.shape[-2:])
    first_h = sequence.new_zeros(c0.shape) if h0 is None else h0.to(sequence.dtype)
    dh, dc = (
        torch.zeros_like(c0)
        if d is None
        else d.to(c0.dtype, memory_format=torch.contiguous_format, copy=True)
        for d in (dh, dc)
    )
    d_peephole = None if peephole is None else c0.new_zeros(3, *c0.shape[1:])
    dx = d_weight_ih = d_bias = None
    room = weight.new_zeros if batch_sizes else weight.new_empty
    if stepwise:
        d_weight_ih, d_weight_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias = c0.new_zeros(4 * c0.shape[1])
        if need_dx:
            weight, inputs, dx = torch.cat([weight_ih, weight_hh], 1), x.shape[2], room(x.shape)
    else:
        h_before = room(sequence.shape)
        dz = room(batch, frames, 4 * c0.shape[1], *c0.shape[2:])
    recur = state_map(weight, light_hh, c0.shape[2:], batch, 1 if stepwise else frames)
    product, inner = recur.product(), recur.inner(frames)
    for step, (t, n) in reversed([*enumerate(steps)]):
        c, h = c0, first_h
        if step:
            before, there = steps[step - 1]
            c, h = _rows(cells[step - 1], c0, n), _rows(sequence[:there, before], first_h, n)
        c, h = c[:n], h[:n] if mask is None else h[:n] * mask[:n]
        if d_sequence is not None:
            dh[:n] += d_sequence[:n, t]
        activations = gates[step].to(c0.dtype)
        d = pointwise.update_backward_(activations, cells[step], c, dh[:n], dc[:n], peephole, hard)
        if peephole is not None:
            for k, (gate, state) in enumerate(((0, c), (1, c), (3, cells[step]))):
                d_peephole[k] += (d.chunk(4, 1)[gate] * state).sum(0)
        d, h = d.to(weight.dtype), h.to(weight.dtype)
        if stepwise:
            d_weight_ih.add_(weight_gradient(x[:n, t], d, weight_ih, same))
            d_weight_hh.add_(weight_gradient(h, d, weight_hh, same))
            d_bias.add_(d.sum((0, 2, 3)))
        else:
            dz[:n, t], h_before[:n, t] = d, h
        if step or h0 is not None or inputs:
            d_in, d_inner = product(d)
            if inner is not None:
                inner[:n, t] = d_inner
            if inputs:
                dx[:n, t] = d_in[:, :inputs]
            dh[:n] = d_in[:, inputs:]
            if mask is not None:
                dh[:n] *= mask[:n]
    d_light_hh = None
    if not stepwise:
        flat = dz.flatten(0, 1)
        inner = None if inner is None else inner.flatten(0, 1)
        d_weight_hh, d_light_hh = recur.weight_gradients(h_before.flatten(0, 1), flat, inner)
        if weight_ih is None:
            dx = dz
        else:
            d_bias = flat.sum((0, 2, 3))
            d_weight_ih = weight_gradient(x.flatten(0, 1), flat, weight_ih, g)
            if need_dx:
                dx = convolution.data_gradient(flat, x.flatten(0, 1), weight_ih, g).view_as(x)
    d_peephole = None if peephole is None else d_peephole.sum_to_size(peephole.shape).clone()
    d_bias = None if d_bias is None else d_bias.to(weight.dtype)
    dh = None if h0 is None else dh.to(h0.dtype)
    return dx, d_weight_ih, d_weight_hh, d_bias, dh, dc, d_peephole, d_light_hh


def _cells(gates: list[Tensor], kept: list[Tensor], c0: Tensor) -> list[Tensor]:
    """The cell states after all steps, from the activations and the cell states that were kept."""
    cells: list[Tensor] = []
    for step, activations in enumerate(gates):
        if _keeps_cell(step, activations.dtype, c0):
            cells.append(kept[step // CELLS])
            continue
        before = _rows(cells[-1], c0, len(activations)) if cells else c0[: len(activations)]
        i, f, g, _ = activations.to(c0.dtype).chunk(4, 1)
        cells.append(pointwise.next_cell(i, f, g, before))
    return cells


def _join(state: Tensor, before: Tensor) -> Tensor:
    """The new states of the first samples, the old ones of the others, which have no frame."""
    return state if len(state) == len(before) else torch.cat([state, before[len(state) :]])


def _rows(state: Tensor, first: Tensor, n: int) -> Tensor:
    """The states of ``n`` samples before a step: ``state``, and ``first`` of those that begin."""
    return state[:n] if n <= len(state) else torch.cat([state, first[len(state) : n]])
