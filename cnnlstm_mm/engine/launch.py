"""Steps from the arguments of cnnlstm-mm train and cnnlstm-mm test to a Runner.

:func:`load_config` makes the config, :func:`build_runner` lists the steps after it in their order:
those named ``check_*`` raise, those named ``apply_*`` change the config.
"""

import argparse
import logging
import os
import os.path as osp
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_distributed
from mmengine.fileio import exists
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import cnnlstm_mm.compat as compat
from cnnlstm_mm.cli import add_cfg_options
from cnnlstm_mm.config import (
    SPLIT_VARIABLE,
    datasets_of,
    drop_worker_options,
    named_weights,
    split_variable,
    type_name,
    vocabularies,
)
from cnnlstm_mm.console import quiet
from cnnlstm_mm.datasets.path_decord_init import apply_path_readers
from cnnlstm_mm.features.config import use_features
from cnnlstm_mm.mirrored_classes import flip_warning, resolve_flips
from cnnlstm_mm.models.fit import check_channels, check_fit
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.storage import locked
from cnnlstm_mm.weights import unwrap_model
from mmaction.registry import RUNNERS

from .console_hook import QuietRunner, show
from .list_checks import apply_balanced_weights, check_evaluators, check_lists

DEFAULT_HOOKS = dict(
    broken_videos='BrokenVideoHook',
    finite_loss='FiniteLossHook',
    memory='MemoryHook',
    run_identity='RunIdentityHook',
    schedule='ScheduleHook',
    whole_checkpoint='WholeCheckpointHook',
)
# Services of --log: the module that they need, and mmengine's backend.
LOG_BACKENDS = dict(
    tensorboard=('tensorboard', 'TensorboardVisBackend'), wandb=('wandb', 'WandbVisBackend')
)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that upstream's train and test tools have in common."""
    parser.add_argument(
        '--work-dir',
        help='the dir to save logs, models and metrics; default ./work_dirs/CONFIG_NAME',
    )
    add_cfg_options(
        parser,
        more='. A list is key="[a,b]" or key=a,b; nested lists and tuples are allowed, as in '
        'key="[(a,b),(c,d)]". No white space. split=2 chooses the split of a data set that has '
        'several.',
    )
    parser.add_argument(
        '--features',
        help='folder of cnnlstm-mm extract, whose features are read instead of the videos',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    parser.add_argument(
        '--verbose', action='store_true', help='print the whole log, which the log file has anyway'
    )
    # torch.distributed.launch passes the rank as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_log_argument(parser: argparse.ArgumentParser) -> None:
    """Add --log."""
    names = sorted(LOG_BACKENDS)
    text = f'write scalars to {" or ".join(names)} as well'
    parser.add_argument('--log', nargs='+', choices=names, metavar='SERVICE', help=text)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the common arguments into it, ``work_dir`` among them."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = args.cfg_options or {}
    with split_variable(options.get('split', os.environ.get(SPLIT_VARIABLE))):
        cfg = Config.fromfile(find_config(args.config))
    cfg.merge_from_dict(options)
    drop_worker_options(cfg)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    cfg.launcher = args.launcher
    if getattr(args, 'features', None) is not None:
        cfg.features = args.features
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        name = osp.splitext(osp.basename(args.config))[0]
        if cfg.get('split', 1) != 1:
            name += f'_split{cfg.split}'
        cfg.work_dir = osp.join('./work_dirs', name)
    add_log_backends(cfg, getattr(args, 'log', None) or ())
    return cfg


def add_log_backends(cfg: Config, names: Iterable[str]) -> None:
    """Let the visualizer of a config write to services as well, those of ``LOG_BACKENDS``.

    Raises:
        ImportError: If the package of one is missing.
    """
    for name in names:
        module, backend = LOG_BACKENDS[name]
        if find_spec(module) is None:
            raise ImportError(f'--log {name}: expected the package {name}; fix: pip install {name}')
        visualizer = dict(cfg.get('visualizer') or dict(type='Visualizer'))
        backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
        if not any(type_name(one) == backend for one in backends):
            options = dict(project='cnnlstm_mm', name=osp.basename(osp.normpath(cfg.work_dir)))
            more = dict(init_kwargs=options) if name == 'wandb' else {}
            backends.append(dict(type=backend, **more))
        cfg.visualizer = dict(visualizer, vis_backends=backends)


def build_runner(cfg: Config, modes: Iterable[str], verbose: bool = False) -> Runner:
    """Check the config and the files that it needs, then build its Runner.

    Args:
        cfg: The config of the run, changed in place.
        modes: Which of 'train', 'val' and 'test' will run.
        verbose: Show the whole log on the console instead of what is for people.

    Raises:
        FileNotFoundError, ValueError: See the steps.
    """
    modes = list(modes)
    if not verbose:
        quiet()
    check_fit(cfg.get('model'))  # 1. backbone, neck and head go together
    check_evaluators(cfg, modes)  # 2. metrics go with the labels
    apply_flip_labels(cfg, modes)  # 3. labels of flipped videos
    apply_features(cfg)  # 4. stored features in place of videos
    apply_balanced_weights(cfg, modes)  # 5. weights of the classes from the training lists
    check_files(cfg, modes)  # 6. lists, videos and weights exist; labels have an output
    check_sync_bn(cfg)  # 7. SyncBN can run here
    apply_default_hooks(cfg)  # 8. hooks of every run
    apply_exact_resume(cfg)  # 9. loop and checkpoints that resume bit by bit
    apply_path_readers(cfg)  # 10. MMAction2's video transforms through our decoders
    compat.apply_gloo_without_cuda(cfg)  # 11. the process group of CPUs
    kind = Runner if verbose else QuietRunner
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else kind.from_cfg(cfg)  # 12.
    check_channels(unwrap_model(runner.model))  # 13. the head takes the neck's channels
    if not verbose:
        show(runner)  # 14. the console
    return runner


def apply_flip_labels(cfg: Config, modes: Iterable[str] = ()) -> None:
    """Pair the classes of ``Flip(flip_label_map='from_names')``; see :func:`resolve_flips`.

    A training whose plain Flip turns classes into each other gets a warning.
    """
    resolve_flips(cfg)
    warning = flip_warning(cfg) if 'train' in modes else ''
    if warning:
        print_log(warning, 'current', logging.WARNING)


def apply_features(cfg: Config) -> None:
    """Read features where ``cfg.features`` names a store, see :func:`use_features`."""
    if cfg.get('features') is not None:
        use_features(cfg, cfg.features)


def check_files(cfg: Config, modes: Iterable[str]) -> None:
    """Raise unless every file that the run needs exists and its lists fit the head.

    Args:
        cfg: The config; ``data_help`` and ``weights_help`` in it say how to get the files.
        modes: Which of 'train', 'val' and 'test' will run.

    Raises:
        FileNotFoundError: With each missing path and how to get it.
        ValueError: For a broken list or a label without an output; with file and line.
    """
    modes = list(modes)
    datasets = [dataset for mode in modes for dataset in datasets_of(cfg, mode)]
    data = [path for dataset in datasets for path in _data_files(dataset)] + vocabularies(cfg)
    weights = [path for path in _checkpoints(cfg) if '://' not in path]
    messages = [
        _missing_message(kind, missing, cfg.get(f'{kind}_help'))
        for kind, paths in (('data', data), ('weights', weights))
        if (missing := [path for path in paths if not exists(path)])
    ]
    if messages:
        raise FileNotFoundError('\n'.join(messages))
    check_lists(cfg, modes)


def check_sync_bn(cfg: Config) -> None:
    """Raise ValueError for ``sync_bn`` in a distributed run on CPUs: PyTorch's needs GPUs."""
    launched = cfg.get('launcher', 'none') != 'none'
    if cfg.get('sync_bn') and launched and not torch.cuda.is_available():
        raise ValueError(
            f'sync_bn: expected None without CUDA, got {cfg.sync_bn!r}; fix: drop it. To train on '
            'CPUs as one process would, freeze the batch norm (TimeDistributed(frozen=True), '
            'norm_eval=True) or use GroupNorm.'
        )


def apply_default_hooks(cfg: Config) -> None:
    """Add the hooks of ``DEFAULT_HOOKS`` that the config does not set itself."""
    hooks = dict(cfg.get('default_hooks') or {})
    for name, kind in DEFAULT_HOOKS.items():
        hooks.setdefault(name, dict(type=kind))
    if type_name((cfg.get('model') or {}).get('cls_head')) == 'CaptionHead':
        hooks.setdefault('vocabulary', dict(type='VocabularyHook'))
    cfg.default_hooks = hooks


def apply_exact_resume(cfg: Config) -> None:
    """Let a config of mmengine's own parts train so that it can be resumed bit by bit.

    ``EpochBasedTrainLoop`` becomes :class:`ExactEpochBasedTrainLoop`, and ``CheckpointHook``
    :class:`VerifiedCheckpointHook`, with the same arguments. Other loops, hooks and runners stay.
    """
    if cfg.get('runner_type', 'Runner') != 'Runner':
        return
    loop = cfg.get('train_cfg') or {}
    if type_name(loop) == 'EpochBasedTrainLoop' or (loop.get('by_epoch') and 'type' not in loop):
        loop.pop('by_epoch', None)
        loop['type'] = 'ExactEpochBasedTrainLoop'
    hooks = dict(cfg.get('default_hooks') or {})
    hook = hooks.setdefault('checkpoint', dict(type='CheckpointHook', interval=1))
    if type_name(hook) == 'CheckpointHook':
        hooks['checkpoint'] = dict(hook, type='VerifiedCheckpointHook')
    cfg.default_hooks = hooks


def leave_process_group() -> None:
    """End a distributed run in order; the last call of a tool. Others are not affected.

    A process that exits while gloo's threads still talk to a slower one is aborted, and the
    launcher then reports a run as failed that was not.
    """
    if is_distributed():
        barrier()
        torch.distributed.destroy_process_group()


def launched_rank(launcher: str) -> int:
    """Number of this process before the process group exists; 0 without a launcher."""
    names = dict(pytorch='RANK', slurm='SLURM_PROCID', mpi='OMPI_COMM_WORLD_RANK')
    return int(os.environ.get(names.get(launcher, ''), 0))


def lock_work_dir(cfg: Config) -> AbstractContextManager[None]:
    """Hold the work directory for a training; the first process does so for all.

    Raises:
        InUseError: On entering, if another training writes there.
    """
    launcher = cfg.get('launcher', 'none')
    return locked(cfg.work_dir, 'train', launched_rank(launcher) == 0)


def _data_files(dataset: dict) -> list[str]:
    root = dataset.get('data_root') or ''
    paths = [dataset.get('ann_file'), *dataset.get('data_prefix', {}).values()]
    return [osp.join(root, path) for path in paths if path]


def _checkpoints(cfg: Config) -> list[str]:
    """The checkpoints that the run will load."""
    if cfg.get('load_from') is not None:
        return [cfg.load_from]
    if cfg.get('resume'):
        return []
    return named_weights(cfg.get('model', {}))


def _missing_message(kind: str, paths: list[str], fix: str | None) -> str:
    lines = ''.join(f'\n  {Path(path).absolute()}' for path in dict.fromkeys(paths))
    fix = fix or 'fix: set the paths in the config or with --cfg-options.'
    return f'The {kind} of this config are missing. Looked for:{lines}\n{fix}'
