"""Run the frozen backbone of a config once over its data and store the features.

    cnnlstm-mm extract CONFIG --out DIR
    cnnlstm-mm train CONFIG --features DIR

A killed run resumes where it stopped when it is started again, and writes the
same files, byte for byte. Several processes share the work:

    torchrun --nproc_per_node 4 tools/extract_features.py CONFIG --out DIR --launcher pytorch
"""

import argparse
import time
from contextlib import nullcontext

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, init_dist
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import cnnlstm_mm  # noqa: F401  mends and registers first
import cnnlstm_mm.compat as compat
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.config import datasets_of
from cnnlstm_mm.console import quiet, without_noise
from cnnlstm_mm.engine.launch import (
    add_common_arguments,
    check_files,
    launched_rank,
    leave_process_group,
    load_config,
)
from cnnlstm_mm.features.config import SPLITS
from cnnlstm_mm.features.extraction import DTYPES, FeatureExtractor
from cnnlstm_mm.memory import keep_freed_memory
from cnnlstm_mm.mirrored_classes import resolve_flips
from cnnlstm_mm.options import check_int
from cnnlstm_mm.storage import locked


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Extract the features of a frozen backbone')
    parser.add_argument('config', help='config that reads videos')
    parser.add_argument('--out', required=True, help='folder of the store')
    parser.add_argument(
        '--splits',
        nargs='+',
        choices=SPLITS,
        help='data loaders of the config; default: all that it has',
    )
    parser.add_argument(
        '--train-views',
        type=int,
        default=1,
        help='augmented views of each training clip; default: 1',
    )
    parser.add_argument('--dtype', choices=sorted(DTYPES), default='float16')
    parser.add_argument(
        '--pool',
        choices=['auto', 'avg', 'none'],
        default='auto',
        help='avg stores the mean of each frame, none the maps; default: auto, '
        "avg where the config's neck averages each frame",
    )
    parser.add_argument(
        '--checkpoint', help='checkpoint of the config that the backbone is taken from'
    )
    parser.add_argument('--batch-size', type=int, default=2, help='views per batch; default: 2')
    parser.add_argument('--num-workers', type=int, default=2, help='decoding processes; default: 2')
    parser.add_argument('--shard-clips', type=int, default=32, help='clips per file; default: 32')
    parser.add_argument('--seed', type=int, default=0, help='seed of the augmentation; default: 0')
    parser.add_argument('--device', help='cpu or cuda:0, for example')
    add_common_arguments(parser)
    return parser


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for numbers out of range, before any work."""
    check_int(
        **{
            f'--{name.replace("_", "-")}': getattr(args, name)
            for name in ('train_views', 'batch_size', 'shard_clips')
        }
    )
    check_int(0, **{'--num-workers': args.num_workers})


def extract(args: argparse.Namespace) -> None:
    """Extract the features and report broken videos."""
    check_arguments(args)
    if not args.verbose:
        quiet()
    keep_freed_memory()  # before the workers start; without effect on a GPU
    cfg = load_config(args)
    resolve_flips(cfg)
    args.splits = args.splits or [split for split in SPLITS if datasets_of(cfg, split)]
    check_files(cfg, args.splits)
    with locked(args.out, 'extract_features', launched_rank(args.launcher) == 0):
        with nullcontext() if args.verbose else without_noise():
            write_store(cfg, args)


def write_store(cfg: Config, args: argparse.Namespace) -> None:
    """Extract into a folder that this run holds."""
    compat.apply_gloo_without_cuda(cfg)
    if args.launcher != 'none' and torch.cuda.is_available():
        init_dist(args.launcher)
    extractor = FeatureExtractor(
        cfg,
        args.out,
        args.splits,
        train_views=args.train_views,
        dtype=args.dtype,
        pool=args.pool,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        shard_clips=args.shard_clips,
        seed=args.seed,
        checkpoint=args.checkpoint,
        device=args.device,
    )
    total, done = extractor.num_views()
    if done and get_rank() == 0:
        print(f'{done} of {total} views are already stored.')
    started = time.time()
    with Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        disable=get_rank() != 0,
    ) as progress:
        # In a distributed run the bar shows the share of the first process.
        bar = progress.add_task('Views', total=total, completed=done)
        broken = extractor.run(lambda views: progress.advance(bar, views))
    union = {}
    for part in all_gather_object(broken):
        union.update(part)
    if get_rank() == 0:
        for name, reason in sorted(union.items()):
            print(f'BROKEN {name}: {reason}')
        if union:
            print(
                f'{len(union)} videos could not be read. Training on the '
                'store replaces them and testing stops at them, as with '
                'the videos themselves.'
            )
        print(f'{total - done} views in {time.time() - started:.0f} s -> {args.out}')
    leave_process_group()


def main(argv: list[str] | None = None) -> int:
    return run_command(extract, argument_parser(), argv)
