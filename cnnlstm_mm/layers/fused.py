"""The time loop of a ConvLSTM as one PyTorch operator with a backward of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .convolution import convolve
from .recurrence import Kept, Options, run_backward, run_forward
from .reference_loop import schedule

STEPWISE = 1 << 20  # gates of one step, in values


@torch.library.custom_op(
    'cnnlstm_mm::conv_lstm',
    mutates_args=(),
    schema='(Tensor x, Tensor? weight_ih, Tensor weight_hh, Tensor? bias, '
    'Tensor? h0, Tensor c0, Tensor? peephole, Tensor? mask, bool hard, '
    'bool reverse, int[]? batch_sizes, bool save) '
    '-> (Tensor, Tensor, Tensor, Tensor[])',
)
def conv_lstm(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h0: Tensor | None,
    c0: Tensor,
    peephole: Tensor | None,
    mask: Tensor | None,
    hard: bool,
    reverse: bool,
    batch_sizes: Sequence[int] | None,
    save: bool,
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Runs all steps.

    Args:
        x: the input's share of the pre-activations [N, T, 4 hidden, H, W],
            gates in the order i, f, g, o; with ``weight_ih`` the input itself
            [N, T, C, H, W].
        weight_ih: None, or the weight of the input convolution [4 hidden, C,
            kh, kw], then 'same' with stride 1.
        weight_hh: of the recurrent convolution [4 hidden, hidden, kh, kw], of
            x's dtype.
        bias: [4 hidden], only with ``weight_ih``.
        h0: initial hidden state [N, hidden, H, W]; None for zeros.
        c0: initial cell state, as h0; its dtype is that of the arithmetic
            between the convolutions.
        peephole: [3, hidden, H or 1, W or 1] for i, f, o, of c0's dtype.
        mask: recurrent dropout, multiplied into h before the convolution, as
            c0.
        hard: hard sigmoid gates.
        reverse: from the last frame to the first.
        batch_sizes: for each frame, how many samples have it; these come
            first.
        save: whether to return what backward needs.

    Returns:
        The sequence of h in the order of the frames [N, T, hidden, H, W], 0
        where a sample has no frame; the last h and c; the tensors of
        ``recurrence.Kept``, or an empty list.
    """
    with torch.autocast(x.device.type, enabled=False):
        return run_forward(
            x,
            weight_ih,
            weight_hh,
            bias,
            h0,
            c0,
            Options(peephole, mask, hard, reverse, batch_sizes),
            save,
        )


@torch.library.custom_op(
    'cnnlstm_mm::conv_lstm_backward',
    mutates_args=(),
    schema='(Tensor? x, Tensor? weight_ih, Tensor weight_hh, Tensor? h0, '
    'Tensor c0, Tensor? peephole, Tensor? mask, bool hard, bool reverse, '
    'int[]? batch_sizes, Tensor sequence, Tensor[] kept, '
    'Tensor? d_sequence, Tensor? dh, '
    'Tensor? dc, bool need_dx) '
    '-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)',
)
def conv_lstm_backward(
    x: Tensor | None,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    peephole: Tensor | None,
    mask: Tensor | None,
    hard: bool,
    reverse: bool,
    batch_sizes: Sequence[int] | None,
    sequence: Tensor,
    kept: Sequence[Tensor],
    d_sequence: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    need_dx: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight_ih, weight_hh, bias, h0, c0 and peephole; empty
    for those that are not there.
    """
    with torch.autocast(c0.device.type, enabled=False):
        grads = run_backward(
            x,
            weight_ih,
            weight_hh,
            h0,
            c0,
            Options(peephole, mask, hard, reverse, batch_sizes),
            sequence,
            list(kept),
            d_sequence,
            dh,
            dc,
            need_dx,
        )
    return tuple(c0.new_empty(0) if g is None else g for g in grads)


@conv_lstm.register_fake
def _(x, weight_ih, weight_hh, bias, h0, c0, peephole, mask, hard, reverse, batch_sizes, save):
    batch, frames = x.shape[:2]
    steps = schedule(frames, reverse, batch_sizes, batch)
    return (
        x.new_empty(batch, frames, *c0.shape[1:]),
        x.new_empty(c0.shape),
        c0.new_empty(c0.shape),
        Kept.empty(c0, steps, x.dtype).tensors() if save else [],
    )


@conv_lstm_backward.register_fake
def _(
    x,
    weight_ih,
    weight_hh,
    h0,
    c0,
    peephole,
    mask,
    hard,
    reverse,
    batch_sizes,
    sequence,
    kept,
    d_sequence,
    dh,
    dc,
    need_dx,
):

    def like(t: Tensor | None) -> Tensor:
        return c0.new_empty(0) if t is None else t.new_empty(t.shape)

    d_bias = like(None) if weight_ih is None else weight_hh.new_empty(weight_hh.shape[:1])
    shape = (*sequence.shape[:2], 4 * c0.shape[1], *c0.shape[2:])
    dx = weight_hh.new_empty(shape) if weight_ih is None else like(x if need_dx else None)
    return dx, like(weight_ih), like(weight_hh), d_bias, like(h0), like(c0), like(peephole)


def _save(ctx, inputs, output):
    (x, weight_ih, weight_hh, bias, h0, c0, peephole, mask, *ctx.flags, _) = inputs
    ctx.has_bias = bias is not None
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[3])
    ctx.save_for_backward(
        None if weight_ih is None else x,
        weight_ih,
        weight_hh,
        h0,
        c0,
        peephole,
        mask,
        output[0],
        *output[3],
    )


def _backward(ctx, d_sequence, dh, dc, _):
    tensors, sequence = ctx.saved_tensors[:7], ctx.saved_tensors[7]
    kept = list(ctx.saved_tensors[8:])
    _, weight_ih, _, h0, _, peephole, _ = tensors
    grads = list(
        torch.ops.cnnlstm_mm.conv_lstm_backward(
            *tensors, *ctx.flags, sequence, kept, d_sequence, dh, dc, ctx.needs_input_grad[0]
        )
    )
    there = (
        ctx.needs_input_grad[0],
        weight_ih is not None,
        True,
        ctx.has_bias,
        h0 is not None,
        True,
        peephole is not None,
    )
    return *(g if t else None for g, t in zip(grads, there)), None, None, None, None, None


def _refuse(ctx, *_):
    raise RuntimeError(
        'ConvLSTM has no second derivative in its fused operator: build it with fused=False'
    )


conv_lstm.register_autograd(_backward, setup_context=_save)
conv_lstm_backward.register_autograd(_refuse)


def must_be_plain() -> bool:
    """Whether someone looks into the operations: torch.func, tracing or
    export.
    """
    return (
        torch._C._are_functorch_transforms_active()
        or torch.jit.is_tracing()
        or torch.compiler.is_exporting()
    )


def run_operator(
    x: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None,
    h: Tensor | None,
    c: Tensor,
    geometry: dict,
    *,
    peephole: Tensor | None,
    mask: Tensor | None,
    hard: bool,
    reverse: bool,
    batch_sizes: list[int] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Input convolution and time loop of one layer in one direction; arguments
    as in ``conv_lstm`` and ``conv2d``.

    The input is convolved for all frames at once, unless the gates of one
    frame are too large for the caches.
    """
    odd = all(k % 2 for k in weight_ih.shape[-2:])
    plain = not geometry or geometry == dict(padding='same', stride=(1, 1), dilation=(1, 1))
    save = torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, weight_ih, weight_hh, bias, h, c, peephole)
    )
    if x.device.type == 'cpu' and odd and plain and 4 * c.numel() >= STEPWISE:
        inputs = x, weight_ih, weight_hh, bias
    else:
        gates_x = convolve(x.flatten(0, 1), weight_ih, bias, **geometry).unflatten(0, x.shape[:2])
        inputs = gates_x.contiguous(), None, weight_hh, None  # [N, T, 4 hidden, H', W']
    return conv_lstm(*inputs, h, c, peephole, mask, hard, reverse, batch_sizes, save)[:3]
