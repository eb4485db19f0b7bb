"""From a config of videos to the same config on stored features."""

import copy
import hashlib
import json
import os.path as osp
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.fileio import exists, get
from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint

from cnnlstm_mm.models.fit import neck_class
from mmaction.registry import MODELS

from .store import FeatureStore, read_manifest, state_hash

SPLITS = ('train', 'val', 'test')
# Of a backbone's config, these do not change what it computes; its weights
# have a hash of their own.
NOT_COMPARED = ('init_cfg', 'frozen', 'channels_last', 'pretrained')


def use_features(cfg: Config, store: str) -> Config:
    """Let a config read features instead of videos; nothing else changes.

    Args:
        cfg (Config): A config of videos with a ``Recognizer3D``.
        store (str): The folder that ``tools/extract_features.py`` wrote.

    Returns:
        Config: The same config: data sets, data preprocessor and backbone are
        those of features.

    Raises:
        ValueError: If the store was made of anything else than this config
            would compute; with each difference.
    """
    manifest = read_manifest(Path(store))
    check_fingerprint(cfg, manifest, store)
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is None:
            continue
        # A config may have one loader under two names.
        loader = copy.deepcopy(loader)
        loader.dataset = ConfigDict(
            type='CachedFeatureDataset', store=str(store), split=split, test_mode=split != 'train'
        )
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
    """Refuse a store that was made of anything else than ``cfg``.

    Weights are compared where the config names some (``init_cfg`` of type
    Pretrained); a list of clips where it is there.

    Args:
        cfg (Config): A config of videos.
        manifest (dict): The store's.
        store (str): Its folder, for the message.

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
            f'model.neck.in_index: {have["in_index"]} in the '
            f'store, {want["in_index"]} in the config'
        )
    for split in sorted(set(want['splits']) & set(have['splits'])):
        differences += differing(want['splits'][split], have['splits'][split], f'{split} data')
    weights = pretrained_hash(cfg)
    if weights not in (None, manifest['weights_sha256']):
        differences.append(
            f'weights: SHA-256 {manifest["weights_sha256"][:12]} in the '
            f'store, {weights[:12]} in the config'
        )
    if differences:
        listed = ''.join(f'\n  {line}' for line in differences)
        raise ValueError(
            f'The features in {store} do not belong to this config:{listed}\n'
            'Extract them anew into another folder, or use the config that '
            'they were made with.'
        )
    if weights is None:
        print_log(
            f'The config names no pretrained backbone: its weights are those in {store}.', 'current'
        )


def fingerprint(cfg: Config) -> dict[str, Any]:
    """What the features of a config depend on, beside the weights.

    Args:
        cfg (Config): A config of videos.

    Returns:
        dict: ``backbone``, ``data_preprocessor``, ``in_index``, ``pool`` and,
        in ``splits``, each split's pipeline and the SHA-256 of its list (None
        where the list is not there).
    """
    model = cfg.model
    neck = model.get('neck') or {}
    kind = neck_class(neck)
    averaged = kind is not None and not kind.reads_maps(neck)
    splits = {}
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader is not None and loader.dataset.get('pipeline'):
            dataset = loader.dataset
            splits[split] = dict(
                pipeline=plain(dataset.pipeline),
                list_sha256=list_hash(osp.join(dataset.get('data_root') or '', dataset.ann_file)),
            )
    return dict(
        backbone=plain(model.backbone),
        data_preprocessor=plain(model.data_preprocessor),
        in_index=neck.get('in_index', -1),
        pool='avg' if averaged else 'none',
        splits=splits,
    )


def plain(node: Any) -> Any:
    """A config node as JSON gives it back, less what is not compared."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key not in NOT_COMPARED}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    return node if isinstance(node, (str, int, float, bool)) or node is None else str(node)


def list_hash(ann_file: str) -> Any:
    """SHA-256 of a list, or None where it is not there."""
    if not exists(ann_file):
        return None
    return hashlib.sha256(get(ann_file)).hexdigest()


def differing(want: Any, have: Any, where: str) -> list[str]:
    """Name each leaf that differs between two plain config nodes."""
    if isinstance(want, dict) and isinstance(have, dict):
        lines = []
        for key in sorted(set(want) | set(have)):
            lines += differing(want.get(key), have.get(key), f'{where}.{key}')
        return lines
    if where.endswith('.list_sha256') and None in (want, have):
        return []
    if want == have:
        return []
    return [f'{where}: {json.dumps(have)} in the store, {json.dumps(want)} in the config']


def pretrained_hash(cfg: Config) -> Any:
    """Hash of the backbone's weights that the config names, or None."""
    inner = cfg.model.backbone.get('backbone') or {}
    for node in (cfg.model.backbone, inner):
        init = node.get('init_cfg') or {}
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            backbone = MODELS.build(cfg.model.backbone)
            backbone.init_weights()
            return state_hash(backbone.state_dict())
    return None


def load_backbone(model: Any, checkpoint: str) -> None:
    """Load the backbone of a recognizer's checkpoint into ``model``.

    Args:
        model (nn.Module): A recognizer.
        checkpoint (str): Its checkpoint; keys ``backbone.*`` are taken.

    Raises:
        ValueError: If the checkpoint does not fit; with the keys.
    """
    state = _load_checkpoint(checkpoint, map_location='cpu')
    state = state.get('state_dict', state)
    state = {
        key[len('backbone.') :]: value
        for key, value in state.items()
        if key.startswith('backbone.')
    }
    try:
        model.backbone.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f'{checkpoint} holds no such backbone as the config has: {error}'
        ) from None
