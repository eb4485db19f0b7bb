"""The kernels of the GPU's time loop for a shape, chosen by a measurement at first use.

CNNLSTM_MM_KERNELS=plain|update|gemm|persistent forces one. Kernels that cannot run
are left out, with one log line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

from .plain_kernels import PlainKernels
from .steps import Kernels

VARIABLE = 'CNNLSTM_MM_KERNELS'
NAMES = ('persistent', 'gemm', 'update', 'plain')  # each falls back on the next
PERSISTENT = 2048  # pixels of a step; with more, launches cost nothing beside the work
REPEATS = 3

Result = TypeVar('Result')
Run = Callable[[Kernels, bool], Result]
_log = logging.getLogger(__name__)
_left_out: set[str] = set()
_chosen: dict[Hashable, tuple[Kernels, bool]] = {}


def forced() -> str | None:
    """The value of CNNLSTM_MM_KERNELS.

    Raises:
        ValueError: for an unknown one.
    """
    name = os.environ.get(VARIABLE) or None
    if name not in (None, *NAMES):
        raise ValueError(f'expected {VARIABLE} to be one of {NAMES}, got {name!r}; fix: unset it')
    return name


def runs(c0: torch.Tensor) -> bool:
    """Whether this package runs a layer: on CUDA, and forced kernels in Triton's interpreter."""
    return c0.is_cuda or bool(os.environ.get('TRITON_INTERPRET') == '1' and forced())


def uses_tf32() -> bool:
    """Whether cuDNN may round the factors of float32 products to TF32, its default."""
    conv = getattr(torch.backends.cudnn, 'conv', None)
    if conv is None:
        return torch.backends.cudnn.allow_tf32
    return conv.fp32_precision == 'tf32'


def candidates(c0: torch.Tensor, forward: bool) -> list[Kernels]:
    """All kernels, the most promising first.

    Args:
        c0: a cell state [N, hidden, H, W].
        forward: the direction.
    """
    found: list[Kernels] = []
    try:
        from .triton_kernels import PersistentKernels, TritonKernels, tiles_for
    except Exception as error:  # missing, or of another version
        _leave_out('Triton', error)
    else:
        programs = (
            torch.cuda.get_device_properties(c0.device).multi_processor_count if c0.is_cuda else 1
        )
        tf32 = uses_tf32()
        tiles = tiles_for(tuple(c0.shape), programs, forward)
        found = [TritonKernels(tile, tf32) for tile in tiles]
        if forced() == 'persistent' or c0.numel() // max(c0.shape[1], 1) <= PERSISTENT:
            found.append(PersistentKernels(tiles[0], tf32, programs))
        found.append(TritonKernels(None, tf32))
    return [*found, PlainKernels()]


def run_fastest(
    key: Hashable, found: Callable[[], list[Kernels]], run: Run, can_replay: bool = False
) -> Result:
    """The result of ``run`` with the kernels that are fastest for ``key``.

    Deterministic algorithms take the first that run, since two measurements
    may differ and other kernels round differently; so does a stream that is
    being captured.

    Args:
        key: what the choice depends on.
        found: ``candidates`` for it.
        run: computes the result from kernels and whether to replay a graph.
        can_replay: whether it may.
    """
    name = forced()
    choice = _chosen.get((key, name))
    if choice is None:
        rivals = found()
        if name:
            fallbacks = NAMES[NAMES.index(name) :]
            rivals = [k for k in rivals if k.name in fallbacks]
            rivals.sort(key=lambda k: fallbacks.index(k.name))
        clock = _seconds if _can_measure() else _once
        choice = _choose(rivals, run, can_replay, bool(name), clock)
        if not _is_capturing():
            _chosen[key, name] = choice
    kernels, graph = choice
    return run(kernels, graph and can_replay)


def _choose(
    rivals: list[Kernels], run: Run, can_replay: bool, only_first: bool, clock: Callable[..., float]
) -> tuple[Kernels, bool]:
    """The fastest kernels by ``clock``, and whether a graph of them is faster."""
    times: list[tuple[float, Kernels]] = []
    for kernels in rivals:
        # Plain ones, or others than the forced ones, only where nothing else runs.
        names = {k.name for _, k in times}
        if names and (kernels.name == 'plain' or (only_first and kernels.name not in names)):
            break
        try:
            times.append((clock(run, kernels, False), kernels))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            if kernels is rivals[-1]:
                raise
            _leave_out(kernels.name, error)
        if times and clock is _once:
            break
    seconds, kernels = min(times, key=lambda row: row[0])
    try:
        return kernels, can_replay and clock(run, kernels, True) <= seconds
    except Exception as error:
        _leave_out('graph of the', error)
        return kernels, False


def _is_capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _can_measure() -> bool:
    return torch.cuda.is_available() and not (
        _is_capturing()
        or torch.are_deterministic_algorithms_enabled()
        or torch.backends.cudnn.deterministic
    )


def _once(run: Run, kernels: Kernels, graph: bool) -> float:
    run(kernels, graph)
    return 0.0


def _seconds(run: Run, kernels: Kernels, graph: bool) -> float:
    run(kernels, graph)
    times = []
    for _ in range(REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run(kernels, graph)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return min(times)


def _leave_out(name: str, error: Exception) -> None:
    if name not in _left_out:
        _left_out.add(name)
        _log.warning('ConvLSTM runs without its %s kernels: %s', name, error)
