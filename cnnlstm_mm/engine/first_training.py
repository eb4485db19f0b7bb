"""A training that starts from the weights of another config's, in one command."""

import os.path as osp
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from cnnlstm_mm.run_identity import flatten

STARTS_FROM = 'starts_from'
FIRST_OPTIONS = 'first_options'  # overrides of that config
FOLDER = 'starts_from'  # below the work directory
FIX = (
    'fix: train {} first, and name its checkpoint with --cfg-options load_from=FILE '
    f'{STARTS_FROM}=None'
)


def apply_first_training(cfg: Config, command: Sequence[str]) -> None:
    """Train the config that ``cfg.starts_from`` names, and load its last checkpoint.

    It is the first of two trainings: on drawn clips, or of the averaging head. Its path starts from
    the config's folder, its work directory is ``WORK_DIR/starts_from``, where an interrupted one
    goes on, and ``cfg.first_options`` overrides what it says. Nothing happens where ``load_from``
    names weights or the second training has begun.

    Args:
        cfg: Config of the second training, changed in place.
        command: The command that trains, up to the config; it takes ``--work-dir``, ``--resume``
            and ``--seed``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: In a distributed run, in which the two are separate commands.
        RuntimeError: If the first training fails.
    """
    first = cfg.get(STARTS_FROM)
    if not first or (cfg.get('load_from') and not cfg.get('resume')):
        return
    begun = Path(cfg.work_dir, 'last_checkpoint').is_file()
    if cfg.get('resume') and (begun or cfg.get('load_from')):
        return
    path = Path(osp.dirname(str(cfg.filename or '')), first)
    if not path.is_file():
        raise FileNotFoundError(
            f'{STARTS_FROM}: expected a config file, got {path}; fix: its path starts from the '
            'folder of the config'
        )
    if cfg.get('launcher', 'none') != 'none':
        raise ValueError(
            f'{STARTS_FROM}: expected one process, got --launcher {cfg.launcher}; '
            + FIX.format(path)
        )
    folder = Path(cfg.work_dir, FOLDER)
    seed = (cfg.get('randomness') or {}).get('seed')
    line = [*command, str(path), '--resume', '--work-dir', str(folder)]
    line += [] if seed is None else ['--seed', str(seed)]
    options = []
    if cfg.get(FIRST_OPTIONS):
        options = [f'{key}={value}' for key, value in flatten(cfg[FIRST_OPTIONS]).items()]
        line += ['--cfg-options', *options]
    print_log(
        f'{STARTS_FROM}: training {path} in {folder} first, with the options of {FIRST_OPTIONS} '
        f'({", ".join(options) or "none"}), not those of this command',
        'current',
    )
    if subprocess.run(line).returncode:
        raise RuntimeError(
            f'{STARTS_FROM}: expected a finished training of {path}, got an error, see above; '
            + FIX.format(path)
        )
    cfg.load_from, cfg.resume = first_checkpoint(cfg), False


def first_checkpoint(cfg: Config) -> str | None:
    """Last checkpoint of the training that ``cfg.starts_from`` names; None without one."""
    folder = Path(cfg.work_dir, FOLDER)
    last = folder / 'last_checkpoint'
    if not cfg.get(STARTS_FROM) or not last.is_file():
        return None
    return str(folder / Path(last.read_text().strip()).name)
