"""What tools/train.py and tools/test.py share: from arguments to a Runner."""

import argparse
import os
import os.path as osp
from collections.abc import Iterable
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.dist import barrier, is_distributed
from mmengine.fileio import exists
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

import cnnlstm_mm.compat as compat
from cnnlstm_mm.config import SPLIT_VARIABLE, datasets_of, list_path, named_weights, rows_of
from cnnlstm_mm.datasets.annotation_list import check_labels
from cnnlstm_mm.features.config import use_features
from cnnlstm_mm.models.fit import check_channels, check_fit
from cnnlstm_mm.weights import unwrap_model
from mmaction.registry import RUNNERS


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that upstream's train and test tools have in common.

    Args:
        parser (ArgumentParser): Receives --work-dir, --cfg-options,
            --launcher and --local-rank.
    """
    parser.add_argument(
        '--work-dir',
        help='the dir to save logs, models and metrics; default ./work_dirs/CONFIG_NAME',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, as key=value. A list is '
        'key="[a,b]" or key=a,b; nested lists and tuples are allowed, as in '
        'key="[(a,b),(c,d)]". No white space. split=2 chooses the split of a '
        'data set that has several.',
    )
    parser.add_argument(
        '--features',
        help='read the features that tools/extract_features.py wrote into '
        'this folder instead of the videos',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torch.distributed.launch passes the rank as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config and merge the common arguments into it.

    Args:
        args (Namespace): The parsed arguments.

    Returns:
        Config: The config, with ``launcher`` and ``work_dir`` set.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    options = args.cfg_options or {}
    if 'split' in options:
        # The config computes the list names from it while it is read.
        os.environ[SPLIT_VARIABLE] = str(options['split'])
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(options)
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
    return cfg


def build_runner(cfg: Config, modes: Iterable[str]) -> Runner:
    """Check the files that the run needs, then build its Runner.

    Args:
        cfg (Config): The config of the run.
        modes (Iterable[str]): Which of 'train', 'val' and 'test' will run.

    Returns:
        Runner: Ready to train or test, on CUDA where there is any. Without
        it, a distributed run uses gloo.

    Raises:
        FileNotFoundError, ValueError: See :func:`check_fit`,
            :func:`check_files` and, where ``cfg.features`` names a folder,
            :func:`use_features`; ValueError also for a head that takes other
            channels than the neck gives.
    """
    check_fit(cfg.get('model'))
    if cfg.get('features') is not None:
        use_features(cfg, cfg.features)
    check_files(cfg, modes)
    hooks = cfg.get('default_hooks', {})
    hooks.setdefault('broken_videos', dict(type='BrokenVideoHook'))
    hooks.setdefault('finite_loss', dict(type='FiniteLossHook'))
    hooks.setdefault('memory', dict(type='MemoryHook'))
    hooks.setdefault('whole_checkpoint', dict(type='WholeCheckpointHook'))
    cfg.default_hooks = hooks
    make_exact(cfg)
    check_sync_bn(cfg)
    compat.read_without_decord(cfg)
    compat.use_gloo_without_cuda(cfg)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    check_channels(unwrap_model(runner.model))
    return runner


def make_exact(cfg: Config) -> None:
    """Let a config of mmengine's own parts train so that it can be resumed.

    ``EpochBasedTrainLoop`` becomes :class:`ExactEpochBasedTrainLoop`, and
    ``CheckpointHook`` :class:`VerifiedCheckpointHook`, with the same
    arguments. Other loops, hooks and runners stay.

    Args:
        cfg (Config): The config of the run, changed in place.
    """
    if cfg.get('runner_type', 'Runner') != 'Runner':
        return
    loop = cfg.get('train_cfg') or {}
    if loop.get('type') == 'EpochBasedTrainLoop' or (loop.get('by_epoch') and 'type' not in loop):
        loop.pop('by_epoch', None)
        loop['type'] = 'ExactEpochBasedTrainLoop'
    hook = cfg.setdefault('default_hooks', {}).setdefault(
        'checkpoint', dict(type='CheckpointHook', interval=1)
    )
    if hook and hook.get('type') == 'CheckpointHook':
        hook['type'] = 'VerifiedCheckpointHook'


def check_sync_bn(cfg: Config) -> None:
    """Refuse SyncBN where PyTorch's cannot run.

    Args:
        cfg (Config): The config of the run.

    Raises:
        ValueError: If the run is distributed, on CPUs, and has ``sync_bn``.
    """
    if (
        cfg.get('sync_bn')
        and cfg.get('launcher', 'none') != 'none'
        and not torch.cuda.is_available()
    ):
        raise ValueError(
            f'sync_bn={cfg.sync_bn!r} needs CUDA: PyTorch synchronizes batch '
            'norm on GPUs only. Drop it; to train on CPUs as one process '
            'would, freeze the batch norm (TimeDistributed(frozen=True), '
            'norm_eval=True) or use GroupNorm.'
        )


def leave_process_group() -> None:
    """End a distributed run in order; call it last. Nothing else happens.

    A process that exits while gloo's threads still talk to a slower one is
    aborted, and the launcher then reports a run as failed that was not.
    """
    if is_distributed():
        barrier()
        torch.distributed.destroy_process_group()


def check_files(cfg: Config, modes: Iterable[str]) -> None:
    """Stop before the model is built if a file that the run needs is missing.

    Args:
        cfg (Config): The config of the run. ``data_help`` and
            ``weights_help`` in it say how to get the files.
        modes (Iterable[str]): Which of 'train', 'val' and 'test' will run.

    Raises:
        FileNotFoundError: Naming each missing path and how to get it.
        ValueError: For a list that cannot be read, or a label that the head
            has no output for; with file and line.
    """
    missing: list[str] = []
    for mode in modes:
        for dataset in datasets_of(cfg, mode):
            missing += _missing_data(dataset)
    messages = []
    if missing:
        messages.append(_message('data', missing, cfg.get('data_help')))
    weights = [path for path in _checkpoints(cfg) if '://' not in path and not exists(path)]
    if weights:
        messages.append(_message('weights', weights, cfg.get('weights_help')))
    if messages:
        raise FileNotFoundError('\n'.join(messages))
    for mode in modes:
        for dataset in datasets_of(cfg, mode):
            _check_list(cfg, dataset)


def _check_list(cfg: Config, dataset: dict) -> None:
    head = cfg.model.get('cls_head') or {}
    if 'num_classes' not in head or dataset.get('type') == 'VideoDataset':
        return  # upstream's takes lines without a label
    rows = rows_of(dataset)
    if rows is not None:
        check_labels(list_path(dataset), rows, head['num_classes'])


def _missing_data(dataset: dict) -> list[str]:
    root = dataset.get('data_root') or ''
    paths = [dataset.get('ann_file'), *dataset.get('data_prefix', {}).values()]
    paths = [osp.join(root, path) for path in paths if path]
    return [path for path in paths if not exists(path)]


def _checkpoints(cfg: Config) -> list[str]:
    """The checkpoints that the run will load, in the order it does."""
    if cfg.get('resume') and cfg.get('load_from') is None:
        return []
    if cfg.get('load_from') is not None:
        return [cfg.load_from]
    return named_weights(cfg.get('model', {}))


def _message(what: str, paths: list[str], cure: str) -> str:
    listed = ''.join(f'\n  {Path(path).absolute()}' for path in dict.fromkeys(paths))
    return (
        f'The {what} of this config are not there. Looked for:{listed}\n'
        f'{cure or "Set the paths in the config or with --cfg-options."}'
    )
