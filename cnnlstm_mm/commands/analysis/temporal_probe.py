r"""Accuracy with the frames in other orders: does the model use time?

    cnnlstm-mm analysis temporal-probe CONFIG CHECKPOINT \\
        [CONFIG CHECKPOINT ...] --json probe.json --plot probe.png

The clips of the config's own test pipeline are shown in order, reversed,
shuffled, frozen to their middle frame, and with every second frame only (each
shown twice). A model that does not use time gives the same answers for the
first three. The table of classes shows which ones depend on the order.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from rich.progress import track
from torch.utils.data import Subset

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.config import read_labels
from cnnlstm_mm.lab.analysis.cli import (
    add_model_arguments,
    chosen_videos,
    load_test_config,
    model_pairs,
    test_lists,
)
from cnnlstm_mm.lab.analysis.frame_orders import OrderScores, frame_orders, reorder
from cnnlstm_mm.lab.figures import Figure, save_figure
from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.storage import write_json
from cnnlstm_mm.weights import check_no_nan
from mmaction.apis import init_recognizer
from mmaction.registry import DATASETS

MAX_CLASSES = 20  # in tables and pictures; all are in the JSON


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Accuracy with the frames in other orders')
    add_model_arguments(parser)
    parser.add_argument(
        '--shuffles',
        nargs='+',
        type=int,
        default=[0, 1, 2],
        metavar='SEED',
        help='one shuffle per seed; default: 0 1 2',
    )
    return parser


def measure(config: str, checkpoint: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run one model over its test list in all orders.

    Returns:
        dict: ``name``, ``config``, ``checkpoint`` and the entries of
        :meth:`OrderScores.summary`.

    Raises:
        RuntimeError: If a video cannot be read; names it.
    """
    cfg = load_test_config(config, args.cfg_options)
    model = init_recognizer(cfg, checkpoint, args.device)
    check_no_nan(model, checkpoint)
    loader_cfg = cfg.test_dataloader
    dataset = DATASETS.build(loader_cfg.dataset)
    numbers = chosen_videos(len(dataset), args.max_videos)
    loader = Runner.build_dataloader(
        dict(
            loader_cfg,
            dataset=Subset(dataset, numbers.tolist()),
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
    )
    scores = OrderScores(read_labels(cfg, cfg.model.cls_head.num_classes))
    name, done = Path(config).stem, 0
    for batch in track(loader, name):
        for sample in batch['data_samples']:
            if 'broken' in sample:
                raise RuntimeError(
                    f'expected readable videos in {test_lists(cfg)}, got {sample.broken}; '
                    'fix: repair it, or take it off the list'
                )
        clips = batch['inputs']
        orders = [
            frame_orders(clip.shape[2], int(numbers[done + k]), args.shuffles)
            for k, clip in enumerate(clips)
        ]
        done += len(clips)
        for order in orders[0]:
            shown = [reorder(clip, o[order]) for clip, o in zip(clips, orders)]
            with torch.no_grad():
                answers = model.test_step(dict(inputs=shown, data_samples=batch['data_samples']))
            for sample in answers:
                scores.add(order, int(sample.gt_label), int(sample.pred_score.argmax()))
    return dict(name=name, config=config, checkpoint=checkpoint, **scores.summary())


def tables(models: list[dict]) -> str:
    """Format all models, then the classes of each, the most order-dependent first."""
    orders = list(models[0]['top1'])
    parts = [
        markdown_table(
            [
                ['top-1', *orders],
                *([m['name'], *(f'{100 * m["top1"][o]:.1f} %' for o in orders)] for m in models),
            ]
        )
        + f'\nchance: {100 * models[0]["chance"]:.1f} %'
    ]
    for m in models:
        rows = [['class', 'videos', *orders, 'reversed, most often']]
        classes = sorted(
            m['per_class'].items(), key=lambda item: item[1]['shuffled'] - item[1]['in order']
        )
        for cls, shares in classes[:MAX_CLASSES]:
            rows.append(
                [
                    cls,
                    str(shares['videos']),
                    *(f'{100 * shares[o]:.0f} %' for o in orders),
                    shares['reversed_as'],
                ]
            )
        text = f'\n{m["name"]}\n{markdown_table(rows)}'
        if len(classes) > MAX_CLASSES:
            text += f'\n{len(classes) - MAX_CLASSES} more in the JSON'
        parts.append(text)
    return '\n'.join(parts)


def plot(models: list[dict], path: str) -> None:
    """Draw top-1 in each order, and the loss of each class when shuffled."""
    figure = Figure(figsize=(12, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    orders, width = list(models[0]['top1']), 0.8 / len(models)
    needs = {
        cls: np.mean(
            [
                m['per_class'][cls]['in order'] - m['per_class'][cls]['shuffled']
                for m in models
                if cls in m['per_class']
            ]
        )
        for cls in models[0]['per_class']
    }
    classes = sorted(needs, key=needs.__getitem__, reverse=True)[:MAX_CLASSES]
    for k, m in enumerate(models):
        shift = (k - (len(models) - 1) / 2) * width
        left.bar(
            np.arange(len(orders)) + shift,
            [100 * m['top1'][o] for o in orders],
            width,
            label=m['name'],
        )
        right.bar(
            np.arange(len(classes)) + shift,
            [
                100 * (m['per_class'][c]['in order'] - m['per_class'][c]['shuffled'])
                if c in m['per_class']
                else 0
                for c in classes
            ],
            width,
        )
    left.axhline(100 * models[0]['chance'], color='grey', linestyle=':', label='chance')
    left.set_xticks(range(len(orders)), orders)
    left.set(ylabel='top-1, %', ylim=(0, 102))
    left.legend(fontsize='x-small')
    right.set_xticks(range(len(classes)), classes, rotation=60, ha='right', fontsize='small')
    right.set(ylabel='points lost when shuffled')
    for axes in (left, right):
        axes.grid(alpha=0.3, axis='y')
    save_figure(figure, path)


def probe(args: argparse.Namespace) -> None:
    """Print the tables; write the JSON and the plot."""
    models = [measure(*pair, args) for pair in model_pairs(args.models)]
    print(tables(models))
    if args.json:
        write_json(args.json, dict(shuffles=args.shuffles, models=models), indent=1)
    if args.plot:
        plot(models, args.plot)


def main(argv: list[str] | None = None) -> int:
    return run_command(probe, argument_parser(), argv)
