"""The time loop of a ConvLSTM, forward and backward, without autograd.

Small frames: the input is convolved for all steps at once; backward takes all weight gradients over
all steps at once. Large frames, whose gates do not fit into the caches: every step convolves
cat(x, h) once, in both directions.

Forward keeps the activations of the gates i and f and the cell states, and
backward the sequence of h, which lives anyway; g and o follow pointwise.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from . import convolution, pointwise
from .convolution import step_conv, weight_gradient
from .dispatch import Problem, are_finite, choose
from .geometry import Geometry, geometry
from .reference_loop import schedule


class Options(NamedTuple):
    """What both directions need to know; see ``fused.conv_lstm``."""

    peephole: Tensor | None
    mask: Tensor | None
    hard: bool
    reverse: bool
    batch_sizes: Sequence[int] | None
    geometry: Geometry


class Kept(NamedTuple):
    """What forward keeps for backward, a tensor a step, in c's dtype.

    Attributes:
        gates: activations of i and f [n, 2 hidden, H, W].
        cells: cell states after the step [n, hidden, H, W].
        hidden: hidden states after it, as the cells, where the sequence of h
            has fewer digits; else empty.
    """

    gates: list[Tensor]
    cells: list[Tensor]
    hidden: list[Tensor]

    @classmethod
    def empty(cls, c0: Tensor, steps: list[tuple[int, int]], dtype: torch.dtype) -> Kept:
        """Room for these steps, the sequence of h being of ``dtype``."""

        def room(channels: int) -> list[Tensor]:
            return [c0.new_empty(n, channels, *c0.shape[2:]) for _, n in steps]

        hidden = c0.shape[1]
        return cls(room(2 * hidden), room(hidden), [] if dtype == c0.dtype else room(hidden))

    @classmethod
    def of(cls, tensors: list[Tensor], frames: int) -> Kept:
        """From the tensors in one row."""
        return cls(*(tensors[k * frames : (k + 1) * frames] for k in range(3)))

    def tensors(self) -> list[Tensor]:
        """All tensors in one row."""
        return [*self.gates, *self.cells, *self.hidden]


@functools.cache
def _triton_ops() -> ModuleType | None:
    if importlib.util.find_spec('triton'):
        return importlib.import_module('.triton_ops', __package__)
    return None


def pointwise_for(c: Tensor) -> ModuleType:
    """The module whose ``update_`` suits the device."""
    return _triton_ops() or pointwise if c.is_cuda else pointwise


def _is_stepwise(x: Tensor, weight_ih: Tensor | None, g: Geometry) -> bool:
    """Whether the input is convolved step by step."""
    if weight_ih is None:
        return False
    return choose('layer', Problem.of(x[:, 0], weight_ih, g)) == 'stepwise'


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
    batch, frames = x.shape[:2]
    peephole, mask, hard, reverse, batch_sizes, g = options
    ops, steps = pointwise_for(c0), schedule(frames, reverse, batch_sizes, batch)
    c = c0.clone(memory_format=torch.contiguous_format)
    h = (
        torch.zeros_like(c)
        if h0 is None
        else h0.to(c.dtype, memory_format=torch.contiguous_format, copy=True)
    )
    sequence = (x.new_zeros if batch_sizes else x.new_empty)(batch, frames, *c.shape[1:])
    kept = Kept.empty(c0, steps, x.dtype) if save else None
    stepwise, weight, calls = _is_stepwise(x, weight_ih, g), weight_hh, frames
    finite = are_finite(x, h0)
    if stepwise:
        weight, calls = torch.cat([weight_ih, weight_hh], 1), 1
    elif weight_ih is not None:
        x = convolution.forward(x.flatten(0, 1), weight_ih, bias, g, finite)
        x = x.unflatten(0, (batch, frames))  # [N, T, 4 hidden, H', W']
    bias = bias if stepwise else None
    conv = step_conv(weight, batch, c.shape[2:], bias, calls=calls, finite=finite)
    for step, (t, n) in enumerate(steps):
        h_in = (h[:n] if mask is None else h[:n] * mask[:n]).to(weight.dtype)
        if stepwise:
            z = conv(torch.cat([x[:n, t], h_in], 1)).to(c.dtype)
        elif step == 0 and h0 is None:
            z = x[:n, t].to(c.dtype, memory_format=torch.contiguous_format, copy=True)
        else:
            z = torch.add(x[:n, t].to(c.dtype), conv(h_in))
        if kept:
            ops.update_(z, c[:n], h[:n], peephole, hard, kept.gates[step], kept.cells[step])
            if kept.hidden:
                kept.hidden[step].copy_(h[:n])
        else:
            ops.update_(z, c[:n], h[:n], peephole, hard)
        sequence[:n, t] = h[:n]
    return sequence, h.to(x.dtype), c, kept.tensors() if kept else []


def run_backward(
    x: Tensor | None,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    options: Options,
    sequence: Tensor,
    tensors: list[Tensor],
    d_sequence: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    need_dx: bool,
) -> tuple[Tensor | None, ...]:
    """Gradients of x, both weights, the bias, h0, c0 and the peephole."""
    batch, frames = sequence.shape[:2]
    peephole, mask, hard, reverse, batch_sizes, g = options
    ops = pointwise_for(c0)
    steps = schedule(frames, reverse, batch_sizes, batch)
    kept = Kept.of(tensors, frames)
    stepwise, inputs = x is not None and _is_stepwise(x, weight_ih, g), 0
    same = geometry(c0.shape[2:], weight_hh.shape[-2:])
    c0 = c0.contiguous()
    dh, dc = (
        torch.zeros_like(c0)
        if d is None
        else d.to(c0.dtype, memory_format=torch.contiguous_format, copy=True)
        for d in (dh, dc)
    )
    shape = (4 * c0.shape[1], *c0.shape[2:])
    dz = (c0.new_zeros if batch_sizes else c0.new_empty)(batch, 1 if stepwise else frames, *shape)
    weight, dx, d_weight_ih, d_bias = weight_hh, None, None, None
    if stepwise:
        d_weight_ih, d_weight_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
        d_bias = c0.new_zeros(shape[0])
        if need_dx:
            weight, inputs = torch.cat([weight_ih, weight_hh], 1), x.shape[2]
            dx = (torch.zeros_like if batch_sizes else torch.empty_like)(x)
    else:
        h_before = weight.new_zeros(batch, frames, *c0.shape[1:])
    d_peephole = None if peephole is None else c0.new_zeros(3, *c0.shape[1:])
    calls = 1 if stepwise else frames
    conv = step_conv(weight, batch, c0.shape[2:], transposed=True, calls=calls)
    first_h = torch.zeros_like(c0) if h0 is None else h0.to(c0.dtype)

    def after(step: int) -> Tensor:
        """The hidden states after ``step``."""
        t, n = steps[step]
        return kept.hidden[step] if kept.hidden else sequence[:n, t]

    for step in range(frames - 1, -1, -1):
        t, n = steps[step]
        d = dz[:n, 0 if stepwise else t]
        if d_sequence is not None:
            dh[:n] += d_sequence[:n, t]
        c, h = (
            (c0[:n], first_h[:n])
            if step == 0
            else (_rows(kept.cells[step - 1], c0, n), _rows(after(step - 1), first_h, n))
        )
        ops.update_backward_(
            kept.gates[step], kept.cells[step], c, after(step), dh[:n], dc[:n], d, peephole, hard
        )
        if peephole is not None:
            for k, (gate, state) in enumerate(((0, c), (1, c), (3, kept.cells[step]))):
                d_peephole[k] += (d.chunk(4, 1)[gate] * state).sum(0)
        d = d.to(weight.dtype)
        h = (h if mask is None else h * mask[:n]).to(weight.dtype)
        if stepwise:
            d_weight_ih.add_(weight_gradient(x[:n, t], d, weight_ih, same))
            d_weight_hh.add_(weight_gradient(h, d, weight_hh, same))
            d_bias.add_(d.sum((0, 2, 3)))
        else:
            h_before[:n, t] = h
        if step or h0 is not None or inputs:
            d_in = conv(d)
            if inputs:
                dx[:n, t] = d_in[:, :inputs]
            dh[:n] = d_in[:, inputs:]
            if mask is not None:
                dh[:n] *= mask[:n]
    d_peephole = None if peephole is None else d_peephole.sum_to_size(peephole.shape).clone()
    dh = None if h0 is None else dh.to(h0.dtype)
    if not stepwise:
        dz = dz.to(weight.dtype)
        flat = dz.flatten(0, 1)
        d_weight_hh = weight_gradient(h_before.flatten(0, 1), flat, weight_hh, same)
        if weight_ih is None:
            dx = dz
        else:
            d_bias = flat.sum((0, 2, 3))
            d_weight_ih = weight_gradient(x.flatten(0, 1), flat, weight_ih, g)
            if need_dx:
                dx = convolution.data_gradient(flat, x.flatten(0, 1), weight_ih, g).view_as(x)
    d_bias = None if d_bias is None else d_bias.to(weight.dtype)
    return dx, d_weight_ih, d_weight_hh, d_bias, dh, dc, d_peephole


def _rows(state: Tensor, first: Tensor, n: int) -> Tensor:
    """The states of ``n`` samples before a step: ``state``, and ``first`` of those that begin."""
    return state[:n] if n <= len(state) else torch.cat([state, first[len(state) : n]])
