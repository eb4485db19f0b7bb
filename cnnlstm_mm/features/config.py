"""Convert a config that reads videos to one that reads stored features."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.fileio import exists, get
from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint
from safetensors.torch import load_file
from torch import Tensor

from cnnlstm_mm.config import datasets_of, innermost_datasets, list_path, rows_of, type_name
from cnnlstm_mm.mirrored_classes import resolve_flips
from cnnlstm_mm.models.fit import neck_class
from cnnlstm_mm.weights import extract_state_dict, state_hash
from mmaction.registry import MODELS

from .store import BACKBONE, FeatureStore, read_manifest

SPLITS = ('train', 'val', 'test')
# Of a backbone's config, these do not change what it computes; its weights
# have a separate hash.
NOT_COMPARED = ('init_cfg', 'frozen', 'channels_last', 'pretrained')

# Of a data set, these decide which clips, frames and labels it gives, beside list and pipeline.
CONTENT = ('indices', 'multi_class', 'num_classes', 'filename_tmpl', 'start_index', 'with_offset')


def use_features(cfg: Config, store: str) -> Config:
    """Let a config of a Recognizer3D read features instead of videos; nothing else changes.

    Args:
        cfg: A config of videos; its data sets, data preprocessor and backbone become those of
            features, inside of RepeatDataset and the like. With ``feature_rows``, of ``train`` and
            ``test``, it trains and tests on these rows of the stored training list.
        store: The folder that ``cnnlstm-mm extract`` wrote.

    Raises:
        ValueError: If the store was made of anything else than this config would compute; with
            each difference.
    """
    manifest = read_manifest(store)
    check_fingerprint(cfg, manifest, store)
    rows = cfg.get('feature_rows')
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is None:
            continue
        # A config may have one loader under two names.
        loader = copy.deepcopy(loader)
        (dataset,) = innermost_datasets(loader.dataset)
        dataset.clear()
        dataset.update(
            type='CachedFeatureDataset', store=str(store), split=split, test_mode=split != 'train'
        )
        if rows:
            part = 'train' if split == 'train' else 'test'
            dataset.update(split='train', indices=list(rows[part]))
        # Reading a mapped file is quicker than another process.
        loader.num_workers, loader.persistent_workers = 0, False
        loader.pop('prefetch_factor', None)
        cfg[f'{split}_dataloader'] = loader
    neck = cfg.model.get('neck')
    if neck_class(neck) is not None and neck.get('in_channels') is None:
        neck.in_channels = FeatureStore(store, next(iter(manifest['splits']))).channels
    cfg.model.backbone = ConfigDict(type='PrecomputedFeatures')
    cfg.model.data_preprocessor = ConfigDict(type='FeatureDataPreprocessor')
    return cfg


def check_fingerprint(cfg: Config, manifest: dict, store: str) -> None:
    """Raise unless a store was made with ``cfg``.

    The weights are those of the backbone in ``cfg.load_from``; without, those of the checkpoint
    that the features were extracted with; without, those that the config names (``init_cfg`` of
    type Pretrained). A list of clips is compared where its file exists.

    Args:
        cfg: A config of videos.
        manifest: The store's.
        store: Its folder, for the message.

    Raises:
        ValueError: With each difference.
    """
    want, have = fingerprint(cfg), manifest['made_of']
    differences = []
    for key in ('backbone', 'data_preprocessor'):
        differences += differing(want[key], have[key], f'model.{key}')
    if have['pool'] != want['pool'] and have['pool'] == 'avg':
        differences.append(
            'the features are averaged over the frame (--pool avg), and the '
            f'neck {cfg.model.neck and cfg.model.neck.type} needs maps'
        )
    if have['in_index'] != want['in_index']:
        differences.append(
            f'model.neck.in_index: {have["in_index"]} in the store, {want["in_index"]} in the '
            'config'
        )
    for split in sorted(set(want['splits']) & set(have['splits'])):
        differences += differing(want['splits'][split], have['splits'][split], f'{split} data')
    said, cure = '', 'extract them into another folder, or use the config that they were made with.'
    named = cfg.get('load_from')
    begun = backbone_of_start(named)
    if begun:
        if not same_weights(begun, load_file(str(Path(store) / BACKBONE))):
            differences.append(f'weights: those of the backbone in {named}')
            cure = f'extract them into another folder with --checkpoint {named}'
    elif manifest.get('checkpoint'):
        said = f'The weights of the backbone are those of {manifest["checkpoint"]}, as in {store}.'
    elif (weights := pretrained_hash(cfg)) is None:
        said = f'The config names no pretrained backbone: its weights are those in {store}.'
    elif weights != manifest['weights_sha256']:
        differences.append(
            f'weights: SHA-256 {manifest["weights_sha256"][:12]} in the store, {weights[:12]} in '
            'the config'
        )
    if differences:
        listed = ''.join(f'\n  {line}' for line in differences)
        raise ValueError(
            f'expected features of this config, got {store}, which differs:{listed}\nfix: {cure}'
        )
    if said:
        print_log(said, 'current')


def video_dataset(cfg: Config, split: str) -> dict[str, Any] | None:
    """Config of the one data set of a split, without RepeatDataset and the like around it.

    Raises:
        ValueError: If the split joins several lists.
    """
    datasets = datasets_of(cfg, split)
    if len(datasets) > 1:
        lists = ', '.join(map(list_path, datasets))
        raise ValueError(
            f'expected one list in {split}_dataloader, got {lists}; fix: join them in one file, '
            'the feature store holds one list per split'
        )
    return datasets[0] if datasets else None


def fingerprint(cfg: Config) -> dict[str, Any]:
    """Everything but the weights that the features of a config depend on.

    Returns:
        ``backbone``, ``data_preprocessor``, ``in_index``, ``pool`` and, in ``splits``, each
        split's pipeline, what else of ``CONTENT`` its data set has, and the SHA-256 of its list
        and of the labels' numbers in it (None where its file is missing).
    """
    cfg = copy.deepcopy(cfg)
    resolve_flips(cfg)
    model = cfg.model
    neck = model.get('neck') or {}
    kind = neck_class(neck)
    averaged = kind is not None and not kind.reads_maps(neck)
    head = model.get('cls_head') or {}
    if not neck and type_name(head) == 'CaptionHead':  # it attends to the features themselves
        averaged = head.get('attend', 'time') != 'space_time'
    splits = {}
    for split in SPLITS:
        dataset = video_dataset(cfg, split)
        if dataset is not None and dataset.get('pipeline'):
            splits[split] = dict(
                pipeline=comparable(dataset['pipeline']),
                list_sha256=list_hash(list_path(dataset)),
                labels_sha256=labels_hash(dataset),
                **{key: comparable(dataset[key]) for key in CONTENT if dataset.get(key)},
            )
    return dict(
        backbone=comparable(model.backbone),
        data_preprocessor=comparable(model.data_preprocessor),
        in_index=neck.get('in_index', -1),
        pool='avg' if averaged else 'none',
        splits=splits,
    )


def chosen_splits(made_of: dict[str, Any], splits: list[str]) -> dict[str, Any]:
    """Those of a :func:`fingerprint`; ValueError for one that the config lacks."""
    known = made_of['splits']
    for split in splits:
        if split not in known:
            raise ValueError(
                f'expected videos with a pipeline in {split}_dataloader, got none; fix: --splits '
                f'{" ".join(known)}'
            )
    return {split: known[split] for split in splits}


def check_manifest(new: dict[str, Any], store: Path) -> None:
    """Raise ValueError unless ``new`` is the manifest of the store as it was begun.

    The text of the config holds paths, which may change, the code may be newer, and the weights
    have a hash.
    """
    old, free = read_manifest(store), {'config', 'made_by', 'checkpoint', 'made_of'}
    different = sorted(key for key in new.keys() - free if old.get(key) != new[key])
    different += differing(new['made_of'], old['made_of'], 'model and data')
    if different:
        raise ValueError(
            f'expected features of this config or none, got {store} with another '
            f'{", ".join(different)}; fix: name another --out, or remove that folder'
        )


def comparable(node: Any) -> Any:
    """Convert a config node as JSON would, without the keys that are not compared."""
    if isinstance(node, dict):
        return {str(key): comparable(node[key]) for key in node if key not in NOT_COMPARED}
    if isinstance(node, (list, tuple)):
        return [comparable(value) for value in node]
    return node if isinstance(node, (str, int, float, bool)) or node is None else str(node)


def list_hash(ann_file: str) -> str | None:
    """SHA-256 of a list, or None where its file is missing."""
    return hashlib.sha256(get(ann_file)).hexdigest() if exists(ann_file) else None


def labels_hash(dataset: dict[str, Any]) -> str | None:
    """SHA-256 of a list's labels, which may be names; None where they cannot be read."""
    try:
        rows = rows_of(dataset)
    except (FileNotFoundError, ValueError):
        return None
    text = None if rows is None else json.dumps([row.labels for row in rows])
    return text and hashlib.sha256(text.encode()).hexdigest()


def differing(want: Any, have: Any, where: str) -> list[str]:
    """Name each leaf that differs between two plain config nodes."""
    if isinstance(want, dict) and isinstance(have, dict):
        return [
            line
            for key in sorted(set(want) | set(have))
            for line in differing(want.get(key), have.get(key), f'{where}.{key}')
        ]
    if want == have or (where.endswith('_sha256') and None in (want, have)):
        return []
    return [f'{where}: {json.dumps(have)} in the store, {json.dumps(want)} in the config']


def pretrained_hash(cfg: Config) -> str | None:
    """Hash of the backbone's weights that the config names, or None."""
    inner = cfg.model.backbone.get('backbone') or {}
    for node in (cfg.model.backbone, inner):
        init = node.get('init_cfg') or {}
        if isinstance(init, dict) and type_name(init) == 'Pretrained':
            backbone = MODELS.build(cfg.model.backbone)
            backbone.init_weights()
            return state_hash(backbone.state_dict())
    return None


def backbone_state(checkpoint: str) -> dict[str, Tensor]:
    """Weights of the backbone in a recognizer's checkpoint; {} of one trained on features."""
    state = extract_state_dict(_load_checkpoint(checkpoint, map_location='cpu'), checkpoint)
    prefix = 'backbone.'
    return {key[len(prefix) :]: state[key] for key in state if key.startswith(prefix)}


def backbone_of_start(load_from: str | None) -> dict[str, Tensor]:
    """:func:`backbone_state` of ``load_from``; {} without, or where the file is missing."""
    if not load_from or not ('://' in load_from or exists(load_from)):
        return {}
    return backbone_state(load_from)


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two state dicts have the same weights; counters of batch norms are left aside."""
    names = {key for key in {*one, *other} if not key.endswith('num_batches_tracked')}
    return all(
        key in one and key in other and torch.equal(one[key].to(other[key]), other[key])
        for key in names
    )


def load_backbone(model: Any, checkpoint: str) -> None:
    """Load the weights ``backbone.*`` of a recognizer's checkpoint into a recognizer.

    Raises:
        ValueError: If the checkpoint does not fit; with the keys.
    """
    try:
        model.backbone.load_state_dict(backbone_state(checkpoint))
    except RuntimeError as error:
        raise ValueError(
            f'expected the backbone of the config in {checkpoint}, got another: {error}'
        ) from None
