"""Identity of a run: hashes of config, lists, code and weights, kept in whatever it writes."""

import hashlib
import json
import os
import os.path as osp
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.config import datasets_of, list_path, named_weights
from cnnlstm_mm.version import __version__

KEY = 'run_identity'  # in a checkpoint's meta and in other files
FILE = 'run_identity.json'  # beside a log
ROOT = Path(__file__).parent
# Settings that decide what a training computes, by the first part of their name. Others say where
# and how it runs, or are a config's own names for values that stand in these as well.
OUTCOME = tuple(
    'model data_preprocessor train_dataloader val_dataloader train_cfg val_cfg val_evaluator '
    'optim_wrapper param_scheduler auto_scale_lr default_hooks custom_hooks randomness '
    'runner_type strategy sync_bn split'.split()
)
# Hooks that show or keep what a training does.
DISPLAY_HOOKS = tuple(
    'broken_videos checkpoint logger memory timer visualization whole_checkpoint '
    'run_identity runtime_info schedule'.split()
)
# The last part of the name of paths and workers. The files behind the paths have hashes.
PATHS_AND_WORKERS = tuple(
    'ann_file data_prefix data_root num_workers persistent_workers pin_memory prefetch_factor '
    'store checkpoint pretrained'.split()
)
MORE_IS_HARMLESS = ('train_cfg.max_epochs', 'train_cfg.max_iters')


def make_identity(cfg: Config, processes: int = 1) -> dict[str, Any]:
    """Identify a run by what it is made of.

    Args:
        cfg: The resolved config.
        processes: Of a distributed run; the batch of all of them counts.

    Returns:
        ``config`` (values by dotted name, as JSON), ``lists`` and ``weights`` (SHA-256 by name),
        ``code``, ``config_file``, and 16 digits of hashes: ``id`` of all that changes the outcome,
        ``recipe`` of what runs of other seeds and splits share.
    """
    config = flatten(cfg.to_dict())
    batch = config.get('train_dataloader.batch_size')
    if isinstance(batch, int):
        config['train_dataloader.batch_size'] = batch * processes
    lists = {
        f'{mode}{number or ""}': file_hash(_list_of(dataset))
        for mode in ('train', 'val')
        for number, dataset in enumerate(datasets_of(cfg, mode))
        if osp.isfile(_list_of(dataset))
    }
    paths = [*named_weights(cfg.get('model', {}))]
    if cfg.get('load_from') and not cfg.get('resume'):
        paths.append(cfg.load_from)
    weights = {
        osp.basename(path): file_hash(path) if osp.isfile(path) else 'not a local file'
        for path in paths
    }
    outcome = {key: value for key, value in config.items() if not is_harmless(key)}
    recipe = {k: v for k, v in outcome.items() if k not in ('split', 'randomness.seed')}
    return dict(
        recipe=_hash_of(recipe),
        config_file=osp.basename(str(cfg.filename or '')),
        id=_hash_of([outcome, lists, weights, code_version()]),
        config=config,
        lists=lists,
        weights=weights,
        code=code_version(),
    )


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Compare two identities.

    Returns:
        Differences by name, in words: those that change the outcome of a training, and those that
        do not (paths, workers, display, more epochs, another version of the code).
    """
    serious: dict[str, str] = {}
    harmless: dict[str, str] = {}
    before, now = old['config'], new['config']
    for key in sorted({*before, *now}):
        was, is_ = before.get(key, '(absent)'), now.get(key, '(absent)')
        if was == is_:
            continue
        more = (
            key in MORE_IS_HARMLESS and isinstance(was, int) and isinstance(is_, int) and is_ > was
        )
        # The checkpoint's seed goes on where none is given.
        unset = key == 'randomness.seed' and is_ in (None, '(absent)')
        found = harmless if more or unset or is_harmless(key) else serious
        found[key] = f'{key}: {_short(was)} in the checkpoint, {_short(is_)} now'
    for part, word in (('lists', 'list'), ('weights', 'weights')):
        for key in sorted({*old[part], *new[part]}):
            was, is_ = old[part].get(key), new[part].get(key)
            if None not in (was, is_) and was != is_:  # a file may be gone by now
                # A checkpoint has all weights, whatever they began with.
                found = serious if part == 'lists' else harmless
                found[f'{part}.{key}'] = (
                    f'{word} {key}: SHA-256 {was[:12]} in the checkpoint, {is_[:12]} now'
                )
    if old['code'] != new['code']:
        harmless['code'] = f'code: {old["code"]} in the checkpoint, {new["code"]} now'
    return serious, harmless


def is_allowed(key: str, allowed: list[str]) -> bool:
    """Whether one of ``allowed`` is the name of a difference or some successive parts of it."""
    return any(f'.{part.strip(".")}.' in f'.{key}.' for part in allowed)


def is_harmless(key: str) -> bool:
    """Whether a setting has no influence on what a training computes."""
    first, *rest = key.split('.')
    if first not in OUTCOME:
        return True
    if first == 'default_hooks':
        return bool(rest) and rest[0] in DISPLAY_HOOKS
    return 'data_prefix' in rest or key.split('.')[-1] in PATHS_AND_WORKERS


def flatten(node: Any, prefix: str = '') -> dict[str, Any]:
    """Values of a config by dotted name, as JSON gives them back."""
    if isinstance(node, dict) and node:
        items: Any = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(part, dict) for part in node):
        items = enumerate(node)
    else:
        return {prefix: json.loads(json.dumps(node, default=str))}
    return {
        key: value
        for name, child in items
        for key, value in flatten(child, f'{prefix}.{name}' if prefix else str(name)).items()
    }


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while part := file.read(1 << 22):
            digest.update(part)
    return digest.hexdigest()


@cache
def code_version() -> str:
    """Version of the package and 12 digits of the hash of its sources."""
    digest = hashlib.sha256()
    for path in sorted(ROOT.rglob('*.py')):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b'\0' + path.read_bytes())
    return f'{__version__}+{digest.hexdigest()[:12]}'


def checkpoint_facts(path: str | Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a file that is made with a checkpoint says of it.

    Args:
        path: The checkpoint's file.
        checkpoint: Its contents.

    Returns:
        ``checkpoint`` (name), ``checkpoint_sha256``, ``run`` (its run's id, None for checkpoints
        of other tools) and ``code``, which made the new file.
    """
    identity = (checkpoint.get('meta') or {}).get(KEY) or {}
    return dict(
        checkpoint=osp.basename(str(path)),
        checkpoint_sha256=file_hash(path) if os.path.isfile(path) else None,
        run=identity.get('run'),
        code=code_version(),
    )


def _list_of(dataset: dict[str, Any]) -> str:
    store = dataset.get('store')
    return osp.join(store, 'manifest.json') if store else list_path(dataset)


def _hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) < 60 else f'{text[:57]}...'
