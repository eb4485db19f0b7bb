"""Test a checkpoint with MMAction2's runner: on a CPU, a GPU or several."""

import argparse
import sys

from mmengine.config import Config

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.launch import (
    add_common_arguments,
    build_runner,
    leave_process_group,
    load_config,
)


def argument_parser() -> argparse.ArgumentParser:
    """MMAction2's test flags."""
    parser = argparse.ArgumentParser(description='Test an action recognizer')
    parser.add_argument('config', help='test config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--dump', help='dump the predictions to this pickle file')
    parser.add_argument('--show-dir', help='save annotated frames of the clips here')
    parser.add_argument('--show', action='store_true', help='show the clips in a window')
    parser.add_argument('--interval', type=int, default=1, help='draw every INTERVAL-th clip')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds to show each window for'
    )
    add_common_arguments(parser)
    return parser


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Merge the testing flags into the config.

    Args:
        cfg (Config): Config of the run, changed in place and returned.
        args (Namespace): Arguments of the tool.

    Raises:
        ValueError: If --dump is not a pickle file, or the config lacks the
            hook that --show and --show-dir need.
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
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'expected --dump to be a .pkl file, got {args.dump}')
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, (list, tuple)):
            evaluators = [evaluators]
        cfg.test_evaluator = [*evaluators, dict(type='DumpPredictions', out_file_path=args.dump)]
    cfg.load_from = args.checkpoint
    return cfg


def test(args: argparse.Namespace) -> None:
    """Test the checkpoint."""
    cfg = merge_args(load_config(args), args)
    runner = build_runner(cfg, ['test'])
    with name_dead_decoders():
        runner.test()
    leave_process_group()


def main(argv: list[str] | None = None) -> int:
    return run_command(test, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
