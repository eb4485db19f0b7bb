r"""Parameters, multiply-adds and, with --latency, latency of the models of configs.

    cnnlstm-mm analysis complexity CONFIG [CONFIG ...] --json cost.json
    cnnlstm-mm analysis complexity CONFIG --latency --threads 1
    cnnlstm-mm analysis complexity CONFIG --latency --device cuda \\
        --batch-size 8

A view is one crop of one clip of the test pipeline; the first line of the
output gives the number of views per video. "A frame" is one frame of a stream,
for models that run frame by frame. Weights are random and no data is read.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, run_command
from cnnlstm_mm.lab.analysis.complexity import complexity
from cnnlstm_mm.lab.analysis.latency import latency
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.storage import write_json

COLUMNS = ('part', 'parameters', 'of them trained', 'G multiply-adds a view', 'M a frame')


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Parameters, multiply-adds and time of configs' models"
    )
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--shape',
        nargs=3,
        type=int,
        metavar=('FRAMES', 'HEIGHT', 'WIDTH'),
        help="size of a view; default: the test pipeline's",
    )
    parser.add_argument(
        '--video-size',
        nargs=2,
        type=int,
        default=(240, 320),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the videos, if the pipeline does not crop; default: 240 320',
    )
    parser.add_argument('--latency', action='store_true', help='also measure latency')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='views or streams per batch; default: 1'
    )
    parser.add_argument('--threads', type=int, help='CPU threads; default: all cores')
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--warmup', type=int, default=3)
    parser.add_argument('--json', help='write the figures here')
    add_cfg_options(parser, 'all configs')
    return parser


def measure(config: str, args: argparse.Namespace) -> dict[str, Any]:
    """Count, and with --latency time, the model of a config file.

    Returns:
        dict: ``config``, the values of :func:`complexity` and, under
        ``latency``, those of :func:`latency`.
    """
    cfg = Config.fromfile(find_config(config))
    cfg.merge_from_dict(args.cfg_options or {})
    size = dict(shape=args.shape, video_size=tuple(args.video_size))
    result = dict(config=config, **complexity(cfg, **size))
    if args.latency:
        result['latency'] = latency(
            cfg, args.device, args.batch_size, args.repeats, args.warmup, **size
        )
    return result


def table(result: dict[str, Any]) -> str:
    """A result as text, with a Markdown table."""
    view, streamed = result['view'], result['per_frame'].get('parts')
    rows: list[list[str]] = [list(COLUMNS)]
    parts = dict(result['parts'], total=result)
    for name, part in parts.items():
        frame = '-'
        if streamed:
            flops = streamed[name] if name != 'total' else result['per_frame']['flops']
            frame = f'{flops / 1e6:.3f}'
        rows.append(
            [
                name,
                f'{part["params"]:,}',
                f'{part["trainable_params"]:,}',
                f'{part["flops"] / 1e9:.4f}',
                frame,
            ]
        )
    lines = [
        f'{Path(result["config"]).stem}: {view["views"]} views of '
        f'{view["frames"]} x {view["height"]} x {view["width"]}'
    ]
    lines.append(markdown_table(rows))
    if not streamed:
        lines.append(f'Not streamable: {result["per_frame"]["reason"]}')
    times = result.get('latency')
    if times:
        lines.append(
            f'{times["device"]}, {times["threads"]} threads, '
            f'batch size {times["batch_size"]}, median (95th percentile) of '
            f'{times["repeats"]}:'
        )
        for name, what in dict(view='a view', frame='a frame').items():
            if name in times:
                lines.append(
                    '  {}: {median_ms:.1f} ms ({p95_ms:.1f}), '
                    '{frames_per_s:.1f} frames a second'.format(what, **times[name])
                )
    return '\n'.join(lines)


def report(args: argparse.Namespace) -> None:
    """Print the tables; write JSON."""
    if args.threads is not None:
        if args.threads < 1:
            raise ValueError(f'expected --threads to be at least 1, got {args.threads}')
        torch.set_num_threads(args.threads)
    if args.device.startswith('cuda') and not torch.cuda.is_available():
        raise ValueError(
            'expected a CUDA device for --device cuda, got none; fix: use --device cpu, or check '
            'nvidia-smi and the build of PyTorch'
        )
    keep_freed_memory()  # as training and testing do
    results = []
    for config in args.configs:
        results.append(measure(config, args))
        print(table(results[-1]), flush=True)
    if args.json:
        write_json(args.json, dict(models=results), indent=1)


def main(argv: list[str] | None = None) -> int:
    return run_command(report, argument_parser(), argv)
