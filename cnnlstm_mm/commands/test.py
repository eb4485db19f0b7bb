"""Test a checkpoint with MMAction2's runner: on a CPU, a GPU or several."""

import argparse
import os.path as osp
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_rank

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.config import datasets_of, read_labels
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.console_hook import shown
from cnnlstm_mm.engine.dump_predictions import read_predictions
from cnnlstm_mm.engine.launch import (
    add_common_arguments,
    add_log_argument,
    build_runner,
    leave_process_group,
    load_config,
)
from cnnlstm_mm.engine.list_checks import drop_metrics_without_labels, labelled
from cnnlstm_mm.lab.report.predictions import Predictions, class_table, confusion_table


def argument_parser() -> argparse.ArgumentParser:
    """MMAction2's test flags."""
    parser = argparse.ArgumentParser(description='Test an action recognizer')
    parser.add_argument('config', help='test config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', help='dump the predictions to this pickle file')
    parser.add_argument('--confusion', action='store_true', help='print the confusion matrix')
    parser.add_argument(
        '--per-class',
        action='store_true',
        help='print the accuracy of each class, or its average precision for several labels',
    )
    parser.add_argument('--show-dir', help='save annotated frames of the clips here')
    parser.add_argument('--show', action='store_true', help='show the clips in a window')
    parser.add_argument('--interval', type=int, default=1, help='draw every INTERVAL-th clip')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each window for'
    )
    add_common_arguments(parser)
    add_log_argument(parser)
    return parser


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Merge the testing flags into the config.

    Args:
        cfg (Config): Config of the run, changed in place and returned.
        args (Namespace): Arguments of the tool.

    Raises:
        ValueError: If --dump is not a pickle file, the config lacks the hook that --show and
            --show-dir need, or the labels do not allow --confusion or --per-class.
    """
    if args.show or args.show_dir is not None:
        if 'visualization' not in cfg.default_hooks:
            raise ValueError(
                'expected a visualization hook for --show and --show-dir, got none; fix: set '
                'default_hooks=dict(visualization=dict(type="ClipVisualizationHook"))'
            )
        cfg.default_hooks.visualization.update(
            enable=True,
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval,
        )
    if args.confusion or args.per_class:
        check_per_class(cfg, args.confusion)
        args.dump = args.dump or osp.join(cfg.work_dir, 'predictions.pkl')
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'expected --dump to be a .pkl file, got {args.dump}')
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, (list, tuple)):
            evaluators = [evaluators]
        cfg.test_evaluator = [*evaluators, dict(type='DumpPredictions', out_file_path=args.dump)]
    cfg.load_from = args.checkpoint
    return cfg


def check_per_class(cfg: Config, confusion: bool) -> None:
    """Raise ValueError unless the test lists have labels, and one a video for a matrix."""
    if not labelled(cfg, 'test'):
        raise ValueError('--confusion and --per-class: expected labels, got a list without any')
    if confusion and any(dataset.get('multi_class') for dataset in datasets_of(cfg, 'test')):
        raise ValueError(
            '--confusion: expected one label a video, got multi_class=True; fix: pass --per-class, '
            'which prints the average precision of each class'
        )


def print_classes(cfg: Config, args: argparse.Namespace) -> None:
    """Print what --confusion and --per-class ask for, from the dumped scores."""
    samples, _ = read_predictions(Path(args.dump))
    found = Predictions.of(samples)
    classes = read_labels(cfg, found.scores.shape[1])
    if args.confusion:
        print(confusion_table(found.confusion(), classes))
    if args.per_class:
        print(class_table(found, classes))


def test(args: argparse.Namespace) -> None:
    """Test the checkpoint."""
    cfg = merge_args(load_config(args), args)
    drop_metrics_without_labels(cfg)
    runner = build_runner(cfg, ['test'], args.verbose)
    with name_dead_decoders(), shown(runner):
        runner.test()
    if (args.confusion or args.per_class) and get_rank() == 0:
        print_classes(cfg, args)
    leave_process_group()


def main(argv: list[str] | None = None) -> int:
    return run_command(test, argument_parser(), argv)
