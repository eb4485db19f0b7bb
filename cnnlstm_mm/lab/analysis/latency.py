"""Latency of a config's model."""

import copy
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from rich.console import Console
from rich.progress import track

from cnnlstm_mm.models.fit import check_fit
from cnnlstm_mm.streaming import StreamingRecognizer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

from .complexity import first_channels
from .view_size import View, view_of


def latency(
    cfg: Config,
    device: str = 'cpu',
    batch_size: int = 1,
    repeats: int = 20,
    warmup: int = 3,
    shape: tuple[int, int, int] | None = None,
    video_size: tuple[int, int] = (240, 320),
) -> dict[str, Any]:
    """Time testing, from normalized frames to scores, with random weights.

    Args:
        cfg: The config; it is not changed.
        device: Such as 'cpu' (on ``torch.get_num_threads()`` threads) or 'cuda'.
        batch_size: Views, or streams, that run together.
        repeats: Timed runs.
        warmup: Runs before them.
        shape: Frames, height and width of a view; by default those of the test pipeline.
        video_size: See :func:`cnnlstm_mm.lab.analysis.view_size.view_of`.

    Returns:
        ``view`` and, for a model that runs frame by frame, ``frame`` (one frame of each stream,
        from prepared frames), each with ``median_ms`` and ``p95_ms`` of a batch and
        ``frames_per_s``; ``views_per_s``; and the ``device``, ``threads``, ``batch_size``,
        ``repeats`` and ``warmup`` of the measurement.

    Raises:
        ValueError: For a number below 1, or as
            :func:`cnnlstm_mm.lab.analysis.complexity.complexity` does.
    """
    for name, value in dict(batch_size=batch_size, repeats=repeats).items():
        if value < 1:
            raise ValueError(f'expected {name} to be at least 1, got {value}')
    check_fit(cfg.model)
    view = View(1, *shape) if shape else view_of(cfg, video_size)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(copy.deepcopy(cfg.model)).to(device)
    model.eval()
    channels, size = first_channels(model), (view.height, view.width)
    flat = cfg.model.type == 'Recognizer2D'
    clip = (view.frames, channels) if flat else (1, channels, view.frames)
    clips = torch.randn(batch_size, *clip, *size, device=device)
    samples = [ActionDataSample() for _ in range(batch_size)]

    def test() -> None:
        model(clips, copy.deepcopy(samples), mode='predict')

    whole = _times(test, repeats, warmup, 'views')
    done = dict(
        device=device_name(device),
        threads=torch.get_num_threads(),
        batch_size=batch_size,
        repeats=repeats,
        warmup=warmup,
        view=_summary(whole, batch_size * view.frames),
    )
    done['views_per_s'] = done['view']['frames_per_s'] / view.frames
    try:
        stream = StreamingRecognizer.from_model(model.cpu(), cfg, device)
    except ValueError:
        return done
    frames = torch.randn(batch_size, 3, *size)
    state = None

    def step() -> None:
        nonlocal state
        state = stream.step(frames, state)[1]

    done['frame'] = _summary(_times(step, repeats, warmup, 'frames'), batch_size)
    return done


def device_name(device: str) -> str:
    """Name of the card of a device such as 'cuda:0', or the processor's as the system has it."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device} {platform.machine()}'


@torch.no_grad()
def _times(run: Callable[[], None], repeats: int, warmup: int, what: str) -> list[float]:
    """Seconds of each run after the warm-up."""
    seconds = []
    for k in track(
        range(warmup + repeats), f'Timing {what}', transient=True, console=Console(stderr=True)
    ):
        _wait()
        start = time.perf_counter()
        run()
        _wait()
        if k >= warmup:
            seconds.append(time.perf_counter() - start)
    return seconds


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _summary(seconds: list[float], frames: int) -> dict[str, float]:
    ordered = sorted(seconds)
    median = statistics.median(ordered)
    return dict(
        median_ms=1000 * median,
        p95_ms=1000 * ordered[round(0.95 * (len(ordered) - 1))],
        frames_per_s=frames / median,
    )
