"""The time loop of a ConvLSTM as one PyTorch operator with a hand-written backward."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Parameter

from . import gpu, recurrence, winograd
from .geometry import Geometry
from .operators import as_geometry, refuse
from .recurrence import Options, empty_kept

OPTIONS = (
    'Tensor? peephole, Tensor? mask, float hard, bool reverse, int[]? batch_sizes, '
    'int[] pads, int[] stride, int[] dilation, Tensor? light_hh'
)


def _options(
    peephole: Tensor | None,
    mask: Tensor | None,
    hard: float,
    reverse: bool,
    batch_sizes: Sequence[int] | None,
    pads: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    light_hh: Tensor | None,
) -> Options:
    g = as_geometry(pads, stride, dilation)
    return Options(peephole, mask, hard, reverse, batch_sizes, g, light_hh)


def _loop(c0: Tensor) -> ModuleType:
    """What runs the steps."""
    return gpu if gpu.runs(c0) else recurrence


@torch.library.custom_op(
    'cnnlstm_mm::conv_lstm',
    mutates_args=(),
    schema='(Tensor x, Tensor? weight_ih, Tensor weight_hh, Tensor? bias, Tensor? h0, Tensor c0, '
    f'bool save, {OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor[])',
)
def conv_lstm(x, weight_ih, weight_hh, bias, h0, c0, save, *options):
    """Runs all steps, as ``_forward``.

    Args:
        x: the input [N, T, C, H, W]; without ``weight_ih`` its share of the pre-activations
            [N, T, 4 hidden, H', W'], gates in the order i, f, g, o.
        weight_ih: None, or the weight of the input convolution [4 hidden, C, kh, kw].
        weight_hh: of the recurrent convolution [4 hidden, hidden, kh, kw], of x's dtype.
        bias: [4 hidden], only with ``weight_ih``.
        h0: initial hidden state [N, hidden, H', W']; None for zeros.
        c0: initial cell state, as h0; its dtype is that of the arithmetic between convolutions.
        save: whether to return what backward needs.
        *options: peephole [3, hidden, H' or 1, W' or 1] for i, f, o, of c0's dtype; mask of
            recurrent dropout, multiplied into h before the convolution, as c0; hard, the slope of
            hard sigmoid gates, or 0; reverse, from the last frame to the first; batch_sizes, for
            each frame, how many samples have it (these come first); the ``Geometry`` of the input
            convolution; for light gates the other weight of the state, see
            ``state_maps.state_map``.

    Returns:
        The sequence of h in the order of the frames [N, T, hidden, H', W'], 0 where a sample has no
        frame; the last h and c; what ``recurrence.empty_kept`` describes, or an empty list.
    """
    return _forward(x, weight_ih, weight_hh, bias, h0, c0, save, *options)


def _forward(x, weight_ih, weight_hh, bias, h0, c0, save, *options):
    with torch.autocast(x.device.type, enabled=False), winograd.rooms():
        given = x, weight_ih, weight_hh, bias, h0, c0, _options(*options), save
        return _loop(c0).run_forward(*given)


@torch.library.custom_op(
    'cnnlstm_mm::conv_lstm_backward',
    mutates_args=(),
    schema='(Tensor? x, Tensor? weight_ih, Tensor weight_hh, Tensor? h0, Tensor c0, '
    'Tensor sequence, Tensor[] kept, Tensor? d_sequence, Tensor? dh, Tensor? dc, bool need_dx, '
    f'{OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)',
)
def conv_lstm_backward(x, weight_ih, weight_hh, h0, c0, sequence, kept, *rest):
    """Gradients of x, weight_ih, weight_hh, bias, h0, c0, peephole and light_hh; empty for None."""
    grads = _gradients(x, weight_ih, weight_hh, h0, c0, sequence, kept, *rest)
    return tuple(c0.new_empty(0) if g is None else g for g in grads)


def _gradients(x, weight_ih, weight_hh, h0, c0, sequence, kept, *rest):
    *grads, need_dx = rest[:4]
    options = _options(*rest[4:])
    with torch.autocast(c0.device.type, enabled=False), winograd.rooms():
        return _loop(c0).run_backward(
            x, weight_ih, weight_hh, h0, c0, options, sequence, list(kept), *grads, need_dx
        )


@conv_lstm.register_fake
def _(x, weight_ih, weight_hh, bias, h0, c0, save, *options):
    if gpu.runs(c0):
        return gpu.empty_output(x, c0, save)
    return (
        x.new_empty(*x.shape[:2], *c0.shape[1:]),
        x.new_empty(c0.shape),
        c0.new_empty(c0.shape),
        empty_kept(x, c0, _options(*options)) if save else [],
    )


@conv_lstm_backward.register_fake
def _(x, weight_ih, weight_hh, h0, c0, sequence, kept, *rest):
    def like(t: Tensor | None) -> Tensor:
        return c0.new_empty(0) if t is None else torch.empty_like(t)

    need_dx, peephole, *_, light_hh = rest[3:]
    if gpu.runs(c0):
        grads = gpu.empty_gradients(x, weight_ih, weight_hh, h0, c0, sequence, peephole, need_dx)
        return tuple(c0.new_empty(0) if g is None else g for g in grads)
    d_bias = like(None) if weight_ih is None else weight_hh.new_empty(weight_hh.shape[:1])
    shape = (*sequence.shape[:2], 4 * c0.shape[1], *c0.shape[2:])
    dx = weight_hh.new_empty(shape) if weight_ih is None else like(x if need_dx else None)
    others = like(h0), like(c0), like(peephole), like(light_hh)
    return dx, like(weight_ih), like(weight_hh), d_bias, *others


def _save(ctx, inputs, output):
    x, weight_ih, weight_hh, bias, h0, c0, _, peephole, mask, *ctx.flags, light_hh = inputs
    ctx.has_bias = bias is not None
    ctx.set_materialize_grads(False)
    x = None if weight_ih is None else x
    saved = x, weight_ih, weight_hh, h0, c0, peephole, mask, light_hh, output[0], *output[3]
    ctx.save_for_backward(*saved)


def _save_outputs(ctx, inputs, output):
    ctx.mark_non_differentiable(*output[3])
    _save(ctx, inputs, output)


def _backward(ctx, d_sequence, dh, dc, *_):
    x, weight_ih, weight_hh, h0, c0, peephole, mask, light_hh, sequence, *kept = ctx.saved_tensors
    need_dx = ctx.needs_input_grad[0]
    # A second derivative finds its error at the operator.
    direct = not torch.is_grad_enabled() and _is_eager(c0, sequence, d_sequence, dh, dc)
    gradients = _gradients if direct else torch.ops.cnnlstm_mm.conv_lstm_backward
    grads = gradients(
        *(x, weight_ih, weight_hh, h0, c0, sequence, kept, d_sequence, dh, dc, need_dx),
        *(peephole, mask, *ctx.flags, light_hh),
    )
    given = need_dx, weight_ih is not None, True, ctx.has_bias, h0 is not None, True
    *grads, d_peephole, d_light_hh = grads
    grads = (g if has else None for g, has in zip(grads, given))
    d_peephole = None if peephole is None else d_peephole
    return *grads, None, d_peephole, *(None,) * 7, None if light_hh is None else d_light_hh


class _Eager(torch.autograd.Function):
    """``conv_lstm`` past PyTorch's dispatcher, which takes as long as a small step."""

    @staticmethod
    def forward(ctx, *inputs):
        output = _forward(*inputs)
        _save(ctx, inputs, output)
        return output[:3]

    backward = staticmethod(_backward)


def _is_eager(*tensors: Tensor | None) -> bool:
    """Whether nobody looks into the operations on these tensors: no mode, compiler or subclass."""
    return not (torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack()) and all(
        t is None or (type(t) in (Tensor, Parameter) and not _is_wrapped(t)) for t in tensors
    )


def _is_wrapped(t: Tensor) -> bool:
    """Whether torch.func or a batch of gradients holds it."""
    functorch = torch._C._functorch
    return functorch.is_functorch_wrapped_tensor(t) or functorch.is_legacy_batchedtensor(t)


conv_lstm.register_autograd(_backward, setup_context=_save_outputs)
conv_lstm_backward.register_autograd(refuse)


def must_be_plain() -> bool:
    """Whether a transform (torch.func, forward-mode AD, tracing, export) needs plain operations."""
    return (
        torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or torch.jit.is_tracing()
        or torch.compiler.is_exporting()
    )


def run_operator(
    x: Tensor,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    bias: Tensor | None,
    h: Tensor | None,
    c: Tensor,
    g: Geometry,
    *,
    peephole: Tensor | None,
    mask: Tensor | None,
    hard: float,
    reverse: bool,
    batch_sizes: list[int] | None,
    light_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """``conv_lstm`` with what backward needs, if there will be one; the sequence, h and c."""
    tensors = x, weight_ih, weight_hh, bias, h, c, peephole, light_hh
    save = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    options = peephole, mask, hard, reverse, batch_sizes, *g, light_hh
    run = conv_lstm
    if _is_eager(*tensors, mask):
        run = _Eager.apply if save else _forward
    return run(x, weight_ih, weight_hh, bias, h, c, save, *options)[:3]
