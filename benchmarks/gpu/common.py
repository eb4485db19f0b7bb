"""Arguments, timing and JSON output of the steps."""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def arguments(description: str, **options: dict) -> argparse.Namespace:
    """Parse --json, --rehearse and ``options``, keywords of add_argument by name; add ``device``."""
    parser = argparse.ArgumentParser(description=description.split('\n')[0])
    parser.add_argument('--json', type=Path, required=True, help='file for the figures')
    parser.add_argument('--rehearse', action='store_true', help='small shapes on the CPU')
    for name, given in options.items():
        parser.add_argument(f'--{name}', **given)
    args = parser.parse_args()
    args.device = 'cpu' if args.rehearse else 'cuda'
    return args


def write(path: Path, result: object) -> None:
    """Write the figures so far; a later call replaces them."""
    part = path.with_suffix('.part')
    part.write_text(json.dumps(result, indent=1))
    part.replace(path)


def seconds(function: Callable[[], object], device: str, least: float = 0.25) -> float:
    """Time of a call; on a GPU the median of CUDA events, after two calls that warm up.

    Calls are repeated for ``least`` seconds, and at least five times; on a CPU, the first is timed.
    """
    if device == 'cpu':
        start = time.perf_counter()
        function()
        return time.perf_counter() - start
    for _ in range(2):
        function()
    torch.cuda.synchronize()
    times, start = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - start < least:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def set_precision(name: str) -> None:
    """Allow TF32 in float32 products for 'tf32', and forbid it for any other name."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = name == 'tf32'


def name_of(device: str) -> str:
    """The card's name, or CPU."""
    return 'CPU' if device == 'cpu' else torch.cuda.get_device_name()
