"""Train a recognizer with MMAction2's runner: on a CPU, a GPU or several."""

import argparse
import os.path as osp
import sys
from pathlib import Path

import torch
from mmengine.config import Config

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.console import without_noise
from cnnlstm_mm.datasets.decoder_guard import name_dead_decoders
from cnnlstm_mm.engine.console_hook import shown
from cnnlstm_mm.engine.first_training import apply_first_training, first_checkpoint
from cnnlstm_mm.engine.launch import (
    add_common_arguments,
    add_log_argument,
    build_runner,
    leave_process_group,
    load_config,
    lock_work_dir,
)
from cnnlstm_mm.engine.schedule_hook import extend_schedule
from cnnlstm_mm.features.config import backbone_of_start
from cnnlstm_mm.resources import resource_root
from mmaction.registry import MODELS

from . import extract, merge

VIEWS = 2  # of each training clip that are stored


def argument_parser() -> argparse.ArgumentParser:
    """MMAction2's train flags."""
    parser = argparse.ArgumentParser(description='Train an action recognizer')
    parser.add_argument('config', help='train config file path')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from the given checkpoint, or, without one, from the '
        'latest in the work directory',
    )
    parser.add_argument(
        '--allow-changed',
        nargs='+',
        metavar='KEY',
        default=[],
        help='with --resume: settings that may differ from those of the checkpoint, such as lr or '
        'optim_wrapper.optimizer.lr',
    )
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision; bfloat16 on a CPU'
    )
    parser.add_argument(
        '--no-validate', action='store_true', help='do not evaluate the checkpoints during training'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the actual batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument(
        '--diff-rank-seed', action='store_true', help='set different seeds for different ranks'
    )
    parser.add_argument(
        '--deterministic',
        action='store_true',
        help='set deterministic options for the cuDNN backend',
    )
    parser.add_argument(
        '--extend-schedule',
        action='store_true',
        help='stretch the schedule of the learning rate to max_epochs, when resuming with more',
    )
    parser.add_argument(
        '--cache-features',
        action='store_true',
        help='of a frozen backbone: extract the features once into WORK_DIR/features, with '
        f'{VIEWS} augmented views of each training clip, train on them, and write the whole model '
        'to WORK_DIR/model.pth',
    )
    add_common_arguments(parser)
    add_log_argument(parser)
    return parser


def merge_args(cfg: Config, args: argparse.Namespace) -> Config:
    """Merge the training flags into the config.

    Args:
        cfg (Config): Config of the run, changed in place and returned.
        args (Namespace): Arguments of the tool.

    Raises:
        ValueError: If --amp cannot replace the optimizer wrapper, or --extend-schedule finds no
            schedule.
    """
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(
                f'expected optim_wrapper.type=OptimWrapper with --amp, got {wrapper}; fix: drop '
                '--amp, or set optim_wrapper.type=OptimWrapper'
            )
        if torch.cuda.is_available():
            cfg.optim_wrapper.type = 'AmpOptimWrapper'
            cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        else:
            cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    if args.resume == 'auto':
        # What has not begun has nothing to resume, and starts from its weights.
        if not cfg.get('load_from') or Path(cfg.work_dir, 'last_checkpoint').is_file():
            cfg.resume, cfg.load_from = True, None
    elif args.resume is not None:
        cfg.resume, cfg.load_from = True, args.resume
    if args.allow_changed:
        if args.resume is None:
            raise ValueError('--allow-changed goes with --resume')
        cfg.allow_changed = args.allow_changed
    if args.extend_schedule:
        extend_schedule(cfg)
        hooks = cfg.setdefault('default_hooks', {})
        hooks['schedule'] = dict(type='ScheduleHook', extend=True)
        cfg.allow_changed = [*cfg.get('allow_changed', []), 'param_scheduler']
    if args.auto_scale_lr:
        cfg.auto_scale_lr.enable = True
    randomness = dict(cfg.get('randomness') or dict(seed=None))
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.diff_rank_seed:
        randomness['diff_rank_seed'] = True
    if args.deterministic:
        randomness['deterministic'] = True
    cfg.randomness = randomness
    return cfg


def name_features(args: argparse.Namespace) -> None:
    """Set ``args.features`` to the store of --cache-features.

    Raises:
        ValueError: With --features, or in a distributed run.
    """
    if args.features is not None or args.launcher != 'none':
        other = '--features' if args.features is not None else '--launcher'
        raise ValueError(
            f'--cache-features: expected to be without {other}; fix: extract the features with '
            'cnnlstm-mm extract, and train with --features'
        )
    args.features = osp.join(load_config(args).work_dir, 'features')


def cache_features(args: argparse.Namespace) -> None:
    """Extract the features of the config, or those that are missing, into ``args.features``.

    Their backbone is that of the weights that the training begins with, where they have one.
    """
    argv = [args.config, '--out', args.features, '--train-views', str(VIEWS)]
    options = extract.argument_parser().parse_args(argv)
    options.cfg_options = args.cfg_options
    cfg = load_config(args)
    begun = cfg.get('load_from') or first_checkpoint(cfg)
    if backbone_of_start(begun):
        options.checkpoint = begun
    extract.extract(options)


def trains_backbone(cfg: Config) -> bool:
    """Whether the backbone of a config of videos has weights that a training changes."""
    backbone = MODELS.build(cfg.model.backbone).train()
    return any(parameter.requires_grad for parameter in backbone.parameters())


def merge_features(args: argparse.Namespace, work_dir: str) -> None:
    """Write the whole model of the last checkpoint, and say what can be done with it."""
    last = Path(work_dir, 'last_checkpoint').read_text(encoding='utf-8').strip()
    out = osp.join(work_dir, 'model.pth')
    cfg = load_config(argparse.Namespace(**{**vars(args), 'features': None}))
    with without_noise():
        merge.save_checkpoint(merge.merge(cfg, last, args.features), out)
    print(
        f'Whole model: {out}\n'
        f'  cnnlstm-mm test {args.config} {out}\n'
        f'  cnnlstm-mm stream SOURCE {args.config} {out}'
    )


def train(args: argparse.Namespace) -> None:
    """Train the model."""
    if args.cache_features:
        name_features(args)
    cfg = merge_args(load_config(args), args)
    modes = ['train'] if cfg.get('val_cfg') is None else ['train', 'val']
    with lock_work_dir(cfg):
        script = resource_root() / 'tools' / 'train.py'
        apply_first_training(cfg, [sys.executable, str(script)])
        if args.cache_features:
            cache_features(args)
        unfrozen = cfg.get('features') is not None and trains_backbone(cfg)
        runner = build_runner(cfg, modes, args.verbose)
        if unfrozen:
            runner.logger.warning(
                'model.backbone is not frozen: on videos it would be trained, on stored features '
                'neck and head are trained alone.'
            )
        with name_dead_decoders(), shown(runner):
            runner.train()
        if args.cache_features:
            merge_features(args, cfg.work_dir)
        leave_process_group()


def main(argv: list[str] | None = None) -> int:
    return run_command(train, argument_parser(), argv)
