"""The time loop of a ConvLSTM on a GPU, forward and backward, without autograd.

Everything lies channels last. The input's share of the gates comes in for all steps at once; a
``Kernels`` computes the steps. There are several for the same tensors, so that each direction can
take the fastest.

Forward keeps the activations of the four gates and the cell states. Under autocast the activations
are float16, which has three bits more than bfloat16 for numbers in [-1, 1]; cell states have the
dtype of c0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..convolution import weight_gradient
from ..geometry import geometry
from ..recurrence import Options
from .layout import empty, first, last, pack
from .steps import Backward, Forward, Kernels, Step, steps_of


def empty_output(
    gates_x: Tensor, c0: Tensor, save: bool
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Memory for the results of ``run_forward``."""
    batch, frames = gates_x.shape[:2]
    hidden, height, width = c0.shape[1:]
    kept = []
    if save:
        gates = c0.new_empty(batch, frames, height, width, 4 * hidden, dtype=kept_dtype(gates_x))
        kept = [gates, c0.new_empty(batch, frames + 1, height, width, hidden)]
    return (
        empty(gates_x, batch, frames, hidden, height, width),
        empty(gates_x, *c0.shape),
        empty(c0, *c0.shape),
        kept,
    )


def kept_dtype(gates_x: Tensor) -> torch.dtype:
    """The dtype of the activations that backward needs."""
    return torch.float16 if gates_x.dtype == torch.bfloat16 else gates_x.dtype


def run_forward(
    kernels: Kernels,
    gates_x: Tensor,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    options: Options,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """All steps; arguments as in ``fused.conv_lstm``, ``gates_x`` being its ``x``.

    Returns:
        As ``fused.conv_lstm``; kept are the activations of i, f, g, o [N, T, H, W, 4 hidden] by
        frame and the cell states [N, T + 1, H, W, hidden] by step.
    """
    batch, frames = gates_x.shape[:2]
    peephole, mask, hard, reverse, batch_sizes, *_ = options
    steps = steps_of(frames, reverse, batch_sizes, batch)
    output, h, c, kept = empty_output(gates_x, c0, save)
    sequence, last_h, last_c = last(output), last(h), last(c)  # views
    if batch_sizes:
        for t in [*kept, sequence]:
            t.zero_()
    gates, cells = kept if save else (None, last_c[:, None])
    c0, mask = last(c0), None if mask is None else last(mask)
    state = sequence.new_zeros(2, batch, *sequence.shape[2:])
    if h0 is not None:
        state.copy_(last(h0) if mask is None else last(h0) * mask)
    for step in steps:
        if step.before < step.count:
            begin = slice(step.before, step.count)
            cells[begin, step.number if save else 0] = c0[begin]
    run = Forward(
        pack(weight, kernels.gemm),
        tuple(weight.shape[-2:]),
        last(gates_x),
        state,
        h0 is None,
        cells,
        sequence,
        gates,
        None if peephole is None else last(peephole),
        mask,
        hard,
    )
    kernels.forward_all(run, steps)
    for step in steps:
        if step.after < step.count:
            end = slice(step.after, step.count)
            last_h[end] = sequence[end, step.frame]
            if save:
                last_c[end] = cells[end, step.number + 1]
    return output, h, c, kept


def run_backward(
    kernels: Kernels,
    weight: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    options: Options,
    sequence: Tensor,
    kept: list[Tensor],
    d_sequence: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the input's share of the gates, the weight, h0, c0 and the peephole."""
    batch, frames = sequence.shape[:2]
    peephole, mask, hard, reverse, batch_sizes, *_ = options
    gates, cells = kept
    steps = steps_of(frames, reverse, batch_sizes, batch)
    mask = None if mask is None else last(mask)
    dz = torch.empty_like(gates, dtype=weight.dtype)
    if batch_sizes:
        dz.zero_()
    run = Backward(
        pack(weight, kernels.gemm, transposed=True),
        tuple(weight.shape[-2:]),
        gates,
        cells,
        None if d_sequence is None else last(d_sequence),
        None if dh is None else last(dh),
        torch.zeros_like(last(c0)) if dc is None else last(dc).clone(),
        dz,
        dz if kernels.gemm else torch.empty_like(dz[:, 0]),
        None if h0 is None else torch.empty_like(last(h0)),
        None if peephole is None else last(peephole),
        mask,
        hard,
    )
    kernels.backward_all(run, steps)
    h_before = _hidden_before(last(sequence), steps, None if h0 is None else last(h0))
    if mask is not None:
        h_before *= mask[:, None]
    same = geometry(c0.shape[2:], weight.shape[2:])
    flat = first(h_before).flatten(0, 1), first(dz).flatten(0, 1)
    d_weight = weight_gradient(*flat, weight, same).contiguous()
    d_peephole = None
    if peephole is not None:
        d_peephole = _peephole_gradient(dz, cells, reverse).sum_to_size(peephole.shape).contiguous()
    return (first(dz), d_weight, None if h0 is None else first(run.dh0), first(run.dc), d_peephole)


def _hidden_before(sequence: Tensor, steps: list[Step], h0: Tensor | None) -> Tensor:
    """The h before each frame, as the sequence of h [N, T, H, W, F]."""
    before = torch.empty_like(sequence)
    if steps[0].frame:
        before[:, :-1] = sequence[:, 1:]
    else:
        before[:, 1:] = sequence[:, :-1]
    # Of samples without this frame, too: their dz is 0, and 0 * NaN would not be.
    before[:, steps[0].frame] = 0
    for step in steps:
        if step.before < step.count:
            begin = slice(step.before, step.count)
            before[begin, step.frame] = 0 if h0 is None else h0[begin]
    return before


def _peephole_gradient(dz: Tensor, cells: Tensor, reverse: bool) -> Tensor:
    """[3, F, H, W] from all steps."""
    before, after = cells[:, :-1], cells[:, 1:]
    if reverse:
        before, after = before.flip(1), after.flip(1)
    d_i, d_f, _, d_o = dz.chunk(4, -1)
    return first(
        torch.stack([(d * c).sum((0, 1)) for d, c in ((d_i, before), (d_f, before), (d_o, after))])
    )
