"""Data, model and protocol of a config, in a table's words."""

import copy
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.config import datasets_of, list_path, named_weights, read_config, type_name
from cnnlstm_mm.engine.first_training import FOLDER, STARTS_FROM
from cnnlstm_mm.engine.launch import apply_exact_resume
from cnnlstm_mm.features.store import read_manifest
from cnnlstm_mm.mirrored_classes import resolve_flips
from cnnlstm_mm.models.balanced_losses import BALANCED
from cnnlstm_mm.models.fit import neck_class
from cnnlstm_mm.run_identity import flatten

MODES = ('train', 'val', 'test')
UNCOUNTED = {'config', 'made_by', 'checkpoint'}  # of a store's manifest: paths and versions
# Names of annotation lists, as tools/data and the configs call them, and the
# sizes of the official (train, test) lists of each split.
DATA = dict(
    quickstart=('built-in data, order only (8 classes, 1280/320 clips)', {1: (1280, 320)}),
    ucf101_mini10=('UCF101-mini10 (10 of 101 classes, 240/100 clips of split 1)', {1: (240, 100)}),
    ucf101=('UCF101', {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}),
    hmdb51=('HMDB51', dict.fromkeys((1, 2, 3), (3570, 1530))),
    kinetics400=('Kinetics-400', {}),
)
# What makes a run another one. Workers, hooks and paths do not, nor channels, which follow
# from the part before.
COMPARED = (
    'model split train_dataloader test_dataloader train_cfg optim_wrapper param_scheduler'
).split()
NOT_COMPARED = (
    'in_channels num_workers persistent_workers pin_memory prefetch_factor ann_file data_prefix '
    'data_root'
).split()


def on_videos(cfg: Config) -> Config:
    """The config of a run, with the videos and the backbone instead of their stored features.

    It is unchanged if it reads none, or if their store is gone. The backbone is frozen then,
    whatever the config of the videos says.
    """
    store_of = {
        mode: data['store']
        for mode in MODES
        for data in datasets_of(cfg, mode)
        if data.get('store')
    }
    cfg = copy.deepcopy(cfg)
    for mode, store in store_of.items():
        try:
            made_of = Config.fromstring(read_manifest(store)['config'], '.py')
        except (OSError, ValueError):
            continue
        cfg[f'{mode}_dataloader'] = made_of[f'{mode}_dataloader']
        for part in ('backbone', 'data_preprocessor'):
            cfg.model[part] = made_of.model[part]
        if type_name(cfg.model.backbone) == 'TimeDistributed':
            cfg.model.backbone.frozen = True
    return cfg


def stores(cfg: Config) -> list[str]:
    """Feature stores that a config reads."""
    found = [data.get('store') for mode in MODES for data in datasets_of(cfg, mode)]
    return list(dict.fromkeys(filter(None, found)))


def made_of(cfg: Config, identity: dict[str, Any]) -> tuple[dict[str, str] | None, str]:
    """Hashes of the lists and weights of a run, and a note on the weights that it began with.

    Args:
        cfg: Of the run as it was, on stored features or on videos. Of a store counts what it was
            made of, not with which version of the code.
        identity: Of the run, and in ``first`` that of its beginning. Weights that it trained itself
            (``starts_from``) are left out.
    """
    if 'lists' not in identity:
        return None, ''
    found = dict(identity['lists'])
    for mode in {*found} & {*MODES}:
        for data in datasets_of(cfg, mode):
            with suppress(OSError, ValueError, KeyError):
                if data.get('store'):
                    manifest = read_manifest(data['store'])
                    kept = {key: manifest[key] for key in sorted({*manifest} - UNCOUNTED)}
                    found[mode] = hashlib.sha256(json.dumps(kept).encode()).hexdigest()
    first = identity['first']
    weights, begun, note = dict(first['weights']), first['config'].get('load_from'), ''
    if begun and Path(begun).name in weights:
        if first['config'].get(STARTS_FROM) and Path(begun).parent.name == FOLDER:
            del weights[Path(begun).name]
        else:
            note = f'begins with {Path(begun).name} (SHA-256 {weights[Path(begun).name][:8]})'
    return found | weights, note


def list_of(dataset: dict[str, Any]) -> str:
    """Path of a data set's list, or of the feature store that holds it."""
    return list_path(dataset) or str(dataset.get('store', 'no list'))


def list_name(ann_file: str) -> str:
    """The data set's part of a list's name: ucf101 of ucf101_val_split_1..."""
    stem = Path(ann_file).stem
    for part in ('_train', '_val', '_test'):
        stem = stem.split(part)[0]
    return stem


def data_name(ann_files: Sequence[str]) -> str:
    """Name of the data in the results."""
    names = [
        DATA[list_name(file)][0] if list_name(file) in DATA else f'the list {Path(file).name}'
        for file in ann_files
    ]
    return ' + '.join(dict.fromkeys(names))


def subset(ann_file: str, which: str, split: int | None, clips: int | None) -> str:
    """A note if a list has another number of clips than the official one, else ''.

    Args:
        ann_file: The list.
        which: 'train' or 'test'.
        split: Of the data set; None for the first.
        clips: How many there were; None if not known.
    """
    _, sizes = DATA.get(list_name(ann_file), ('', {}))
    wanted = sizes.get(split or 1)
    if wanted is None or clips is None:
        return ''
    total = wanted[which == 'test']
    return '' if clips == total else f'subset: {clips} of {total} {which} clips'


def sampling(pipeline: Sequence[dict]) -> dict[str, Any]:
    """Frames, resolution and views of a test pipeline.

    Returns:
        ``frames`` as clip_len x interval x clips (or 'uniform clip_len'), ``resolution`` and
        ``protocol``.
    """
    clip_len, interval, clips, crops, size = '?', '', 1, 1, '?'
    for transform in pipeline:
        kind = transform['type']
        if kind.endswith(('SampleFrames', 'UniformSample')):
            clip_len = transform.get('clip_len', '?')
            clips = transform.get('num_clips', 1)
            interval = 'uniform' if 'Uniform' in kind else transform.get('frame_interval', 1)
        crops *= dict(ThreeCrop=3, TenCrop=10).get(kind, 1)
        size = transform.get('crop_size', transform.get('scale', size))
    height, width = size[::-1] if isinstance(size, (list, tuple)) else (size, size)
    frames = f'uniform {clip_len}' if interval == 'uniform' else f'{clip_len}x{interval}x{clips}'
    return dict(
        frames=frames,
        resolution=f'{height}x{width}',
        protocol=f'{clips} clip{"s" * (clips > 1)} x {crops} crop{"s" * (crops > 1)}',
    )


def model_names(model: dict[str, Any]) -> dict[str, str]:
    """``backbone``, ``neck`` and ``pretrain``, the weights, in a table's words."""
    wrapper = model['backbone']
    backbone = wrapper.get('backbone', wrapper)
    name = backbone['type'].rpartition('.')[2]
    if 'depth' in backbone:
        name += f'-{backbone["depth"]}'
    if backbone.get('widen_factor', 1) != 1:
        name += f' {backbone["widen_factor"]}'
    if wrapper.get('frozen', False):
        name += ' (frozen)'
    neck, neck_name = model.get('neck'), 'average'
    if neck:
        kind = neck_class(neck)
        # A neck of the user's own file may not be importable where the report is made.
        neck_name = kind.display_name if kind else neck['type'].removesuffix('Neck')
        neck_name += f' {neck.get("hidden_channels", "")}'
        if neck.get('gate_conv', 'full') != 'full':
            neck_name = f'light {neck_name}'
        if neck.get('reduce_channels'):
            neck_name += f' (input reduced to {neck["reduce_channels"]})'
        if neck.get('residual'):
            neck_name += ' residual'
    pretrain = next(iter(named_weights(model)), 'none')
    if any(word in pretrain.lower() for word in ('imagenet', 'mmcls', 'torchvision')):
        pretrain = 'ImageNet'
    return dict(backbone=name, neck=neck_name.strip(), pretrain=Path(pretrain).name)


def changes(cfg: Config, path: Path, split: int | None) -> list[str]:
    """The settings in which a run differs from the config file of today.

    Args:
        cfg: What was run.
        path: The config file.
        split: Which split was run.

    Returns:
        Keys, with the run's values; or that the file is missing.
    """
    if not path.is_file():
        return [f'{path} does not exist']
    today, found = (flatten(_as_trained(c).to_dict()) for c in (read_config(path, split), cfg))
    return [
        f'{key}={found.get(key, "(absent)")!s}'
        for key in sorted({*today, *found})
        if key.split('.')[0] in COMPARED
        and key.split('.')[-1] not in NOT_COMPARED
        and today.get(key) not in (found.get(key), BALANCED)  # a run has the numbers
    ]


def _as_trained(cfg: Config) -> Config:
    """A copy with the parts that cnnlstm-mm train puts in."""
    cfg = copy.deepcopy(cfg)
    apply_exact_resume(cfg)
    with suppress(ValueError):  # no class names here
        resolve_flips(cfg)
    return cfg
