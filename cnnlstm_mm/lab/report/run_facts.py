"""What a config says about data, model and protocol, in a table's words."""

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.config import named_weights, read_config
from cnnlstm_mm.engine.launch import make_exact
from cnnlstm_mm.models.fit import neck_class

# Names of annotation lists, as tools/data and the configs call them, and the
# sizes of the official (train, test) lists of each split.
DATA = dict(
    quickstart=('built-in data, order only (8 classes, 1280/320 clips)', {1: (1280, 320)}),
    ucf101_mini10=('UCF101-mini10 (10 of 101 classes, 240/100 clips of split 1)', {1: (240, 100)}),
    ucf101=('UCF101', {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}),
    hmdb51=('HMDB51', dict.fromkeys((1, 2, 3), (3570, 1530))),
    kinetics400=('Kinetics-400', {}),
)
# What makes a run another one. Workers, hooks and paths do not.
COMPARED = (
    'model',
    'split',
    'train_dataloader',
    'test_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
)
NOT_COMPARED = (
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
    'ann_file',
    'data_prefix',
    'data_root',
)


def list_name(ann_file: str) -> str:
    """The data set's part of a list's name: ucf101 of ucf101_val_split_1..."""
    stem = Path(ann_file).stem
    for part in ('_train', '_val', '_test'):
        stem = stem.split(part)[0]
    return stem


def data_name(ann_file: str) -> str:
    """The name under which results on a list are told."""
    name = list_name(ann_file)
    return DATA[name][0] if name in DATA else f'the list {Path(ann_file).name}'


def subset(ann_file: str, which: str, split: int | None, clips: int | None) -> str:
    """Say so if a list has not as many clips as the official one.

    Args:
        ann_file (str): The list.
        which (str): 'train' or 'test'.
        split (int, optional): Of the data set; None for the first.
        clips (int, optional): How many there were; None if not known.

    Returns:
        str: '' if all, or none are known.
    """
    _, sizes = DATA.get(list_name(ann_file), ('', {}))
    wanted = sizes.get(split or 1)
    if wanted is None or clips is None:
        return ''
    total = wanted[which == 'test']
    return '' if clips == total else (f'subset: {clips} of {total} {which} clips')


def sampling(pipeline: list[dict]) -> dict[str, Any]:
    """Frames, resolution and views of a test pipeline.

    Returns:
        dict: ``frames`` as clip_len x interval x clips (or 'uniform
        clip_len'), ``resolution`` and ``protocol``.
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
    """Backbone, neck and weights, in a table's words."""
    wrapper = model['backbone']
    backbone = wrapper.get('backbone', wrapper)
    name = backbone['type'].rpartition('.')[2]
    if 'depth' in backbone:
        name += f'-{backbone["depth"]}'
    if backbone.get('widen_factor', 1) != 1:
        name += f' {backbone["widen_factor"]}'
    neck = model.get('neck')
    if not neck:
        neck_name = 'average'
    else:
        kind = neck_class(neck)
        # A neck of the user's own file may not be importable where the report is made.
        neck_name = kind.display_name if kind else neck['type'].removesuffix('Neck')
        neck_name += f' {neck.get("hidden_channels", "")}'
        if neck.get('residual'):
            neck_name += ' residual'
        if neck.get('gate_conv', 'full') != 'full' or 'reduce_channels' in neck:
            neck_name = f'light {neck_name}'
    weights = named_weights(model)
    if not weights:
        pretrain = 'none'
    else:
        pretrain = (
            'ImageNet'
            if any(word in weights[0].lower() for word in ('imagenet', 'mmcls', 'torchvision'))
            else Path(weights[0]).name
        )
    frozen = wrapper.get('frozen', False)
    return dict(
        backbone=name + (' (frozen)' if frozen else ''), neck=neck_name.strip(), pretrain=pretrain
    )


def changes(cfg: Config, path: Path, split: int | None) -> list[str]:
    """The settings in which a run differs from the config file of today.

    Args:
        cfg (Config): What was run.
        path (Path): The config file.
        split (int, optional): Which split was run.

    Returns:
        list[str]: Keys, with the run's values; or that there is no such file.
    """
    if not path.is_file():
        return [f'{path} is not there']
    today, found = (_flat(_as_trained(c).to_dict()) for c in (read_config(path, split), cfg))
    keys = [
        key
        for key in sorted({*today, *found})
        if key.split('.')[0] in COMPARED and key.split('.')[-1] not in NOT_COMPARED
    ]
    return [
        f'{key}={found.get(key, "(absent)")!s}'
        for key in keys
        if today.get(key, None) != found.get(key, None)
    ]


def _as_trained(cfg: Config) -> Config:
    """A copy with the parts that tools/train.py puts in."""
    cfg = copy.deepcopy(cfg)
    make_exact(cfg)
    return cfg


def _flat(node: Any, prefix: str = '') -> dict[str, Any]:
    if isinstance(node, dict):
        items: Any = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(value, dict) for value in node):
        items = enumerate(node)
    else:
        return {prefix: list(node) if isinstance(node, tuple) else node}
    return {
        key: value
        for name, child in items
        for key, value in _flat(child, f'{prefix}.{name}' if prefix else str(name)).items()
    }
