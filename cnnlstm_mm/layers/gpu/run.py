"""Forward and backward of one layer on a GPU: ``recurrence`` with the fastest kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..convolution import data_gradient, weight_gradient
from ..geometry import conv2d
from ..recurrence import Options
from . import loop
from .cuda_graphs import Inputs, can_replay, replay
from .kernel_choice import candidates, run_fastest, uses_tf32
from .layout import empty
from .steps import Kernels

SHORT = 4  # steps that a graph does not pay for


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
    """All steps; see ``fused.conv_lstm`` for the arguments, ``loop.run_forward`` for the rest."""
    if weight_ih is not None:
        frames = conv2d(_last(x.flatten(0, 1)), _last(weight_ih), bias, options.geometry)
        x = frames.unflatten(0, x.shape[:2])  # [N, T, 4 hidden, H', W']
    inputs = x, weight_hh, h0, c0, options.peephole, options.mask

    def function(kernels: Kernels, x, weight_hh, h0, c0, peephole, mask):
        given = options._replace(peephole=peephole, mask=mask)
        return loop.run_forward(kernels, x, weight_hh, h0, c0, given, save)

    name = True, options.hard, options.reverse, save
    return _run(name, function, inputs, c0, weight_hh, options, x.shape[1])


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
    """As ``recurrence.run_backward``, which has light gates, too."""
    rest = sequence, *kept, d_sequence, dh, dc
    inputs = weight_hh, h0, c0, *rest, options.peephole, options.mask

    def function(kernels: Kernels, weight_hh, h0, c0, sequence, gates, cells, *given):
        *given, peephole, mask = given
        changed, kept = options._replace(peephole=peephole, mask=mask), [gates, cells]
        return loop.run_backward(kernels, weight_hh, h0, c0, changed, sequence, kept, *given)

    name = False, options.hard, options.reverse, True
    grads = _run(name, function, inputs, c0, weight_hh, options, sequence.shape[1])
    dz, d_weight_hh, *states = grads
    if weight_ih is None:
        return dz, None, d_weight_hh, None, *states, None
    frames, weight, flat = _last(x.flatten(0, 1)), _last(weight_ih), dz.flatten(0, 1)
    d_bias = flat.sum((0, 2, 3))
    d_weight_ih = weight_gradient(frames, flat, weight, options.geometry).contiguous()
    dx = None
    if need_dx:
        dx = _last(data_gradient(flat, frames, weight, options.geometry))
        dx = dx.unflatten(0, sequence.shape[:2])
    return dx, d_weight_ih, d_weight_hh, d_bias, *states, None


def empty_gradients(
    x: Tensor | None,
    weight_ih: Tensor | None,
    weight_hh: Tensor,
    h0: Tensor | None,
    c0: Tensor,
    sequence: Tensor,
    peephole: Tensor | None,
    need_dx: bool,
) -> tuple[Tensor | None, ...]:
    """Memory for the results of ``run_backward``."""
    hidden, *size = c0.shape[1:]
    dx = None
    if weight_ih is None:
        dx = empty(weight_hh, *sequence.shape[:2], 4 * hidden, *size)
    elif need_dx:
        dx = empty(x, *x.shape)
    return (
        dx,
        None if weight_ih is None else weight_ih.new_empty(weight_ih.shape),
        weight_hh.new_empty(weight_hh.shape),
        None if weight_ih is None else weight_hh.new_empty(4 * hidden),
        None if h0 is None else empty(h0, *h0.shape),
        empty(c0, *c0.shape),
        None if peephole is None else peephole.new_empty(peephole.shape),
        None,
    )


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _run(
    name: tuple[bool, ...],
    function: Callable[..., Any],
    inputs: Inputs,
    c0: Tensor,
    weight: Tensor,
    options: Options,
    frames: int,
) -> Any:
    """``function`` of the fastest kernels and ``inputs``; ``name`` begins with the direction."""

    def run(kernels: Kernels, graph: bool) -> Any:
        def of_tensors(*tensors: Tensor | None) -> Any:
            return function(kernels, *tensors)

        return replay((kernels, *name), of_tensors, inputs) if graph else of_tensors(*inputs)

    sizes = c0.shape, weight.shape[2:], min(frames, SHORT)
    key = name[0], c0.device, weight.dtype, c0.dtype, uses_tf32(), *sizes
    graph = frames >= SHORT and not options.batch_sizes and can_replay(inputs)
    with torch.cuda.device_of(c0):
        return run_fastest(key, lambda: candidates(c0, name[0]), run, graph)
