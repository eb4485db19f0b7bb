"""Configs that name no file and nothing but registered modules."""

import json
import re
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from cnnlstm_mm.config import datasets_of, nested_dicts, test_pipeline, type_name
from mmaction.registry import DATASETS, MODELS, TRANSFORMS

# What a model needs to answer; data, schedule and runtime stay where it was trained.
PARTS = ('model', 'none_class')
# How its data sets read what they are given.
READING = tuple(
    'filename_tmpl start_index modality with_offset multi_class num_classes decoder'.split()
)
# Initial weights, names of files and what reads them.
DROPPED = tuple(
    'init_cfg checkpoint checkpoint_path pretrained io_backend file_client_args'.split()
)
TUPLE = 'tuple'  # JSON has lists alone, and Resize takes a tuple
REGISTRIES: tuple[Registry, ...] = (DATASETS, MODELS, TRANSFORMS)
TIMM = re.compile(r'timm\.\w+(\.\w+)?')
SCOPE = re.compile(r'(mmaction|mmengine|mmcv|mmpretrain)\.')


def portable_config(cfg: Config, labels: list[str]) -> dict[str, Any]:
    """The part of a config that a model needs to answer, without paths, as JSON holds it.

    Args:
        cfg: Of a training.
        labels: Class names, which its data set gets.

    Raises:
        ValueError: If it reads stored features, or holds what JSON cannot, such as a function.
    """
    pipeline = test_pipeline(cfg)
    source = next(iter(datasets_of(cfg, 'test')), {})
    kind = type_name(source)
    if kind == 'CachedFeatureDataset':
        raise ValueError(
            'expected a config that reads videos, got one of stored features; fix: join backbone '
            'and checkpoint with cnnlstm-mm merge and name the config of the videos'
        )
    frames = 'Rawframe' in kind
    dataset = dict(
        type=kind if frames or kind == 'CheckedVideoDataset' else 'CheckedVideoDataset',
        ann_file='',
        data_prefix=dict(img='') if frames else dict(video=''),
        metainfo=dict(classes=labels),
        pipeline=pipeline,
        test_mode=True,
        **{name: source[name] for name in READING if source.get(name) is not None},
    )
    half = (cfg.get('test_cfg') or {}).get('fp16')
    parts = dict(
        default_scope=cfg.get('default_scope', 'mmaction'),
        **{name: cfg[name] for name in PARTS if cfg.get(name) is not None},
        **(dict(test_cfg=dict(fp16=half)) if half else {}),
        test_pipeline=pipeline,
        test_dataloader=dict(batch_size=1, num_workers=0, dataset=dataset),
    )
    try:
        return json.loads(json.dumps(_encode(parts)))
    except TypeError as error:
        raise ValueError(
            f'expected a config of numbers, words, lists and dicts, got {error}; fix: name modules '
            'by their registered names'
        ) from None


def _encode(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _encode(value) for key, value in node.items() if key not in DROPPED}
    if isinstance(node, tuple):
        return {TUPLE: [_encode(value) for value in node]}
    return [_encode(value) for value in node] if isinstance(node, list) else node


def _decode(node: Any) -> Any:
    if isinstance(node, dict):
        if set(node) == {TUPLE} and isinstance(node[TUPLE], list):
            return tuple(_decode(value) for value in node[TUPLE])
        return {key: _decode(value) for key, value in node.items()}
    return [_decode(value) for value in node] if isinstance(node, list) else node


def check_portable(content: Any, source: str) -> Config:
    """Accept a config from elsewhere if all that it builds is registered here.

    mmengine imports whatever a ``type`` names, so that ``dict(type='os.system')`` would run.

    Args:
        content: As read from JSON.
        source: Its file, for the messages.

    Raises:
        ValueError: For anything else; with the name.
    """
    if not isinstance(content, dict) or not isinstance(content.get('model'), dict):
        raise ValueError(f'{source}: expected a config with a model, got {str(content)[:60]!r}')
    content = _decode(content)
    for node in nested_dicts(content):
        extra = next((key for key in DROPPED if key in node), None)
        if extra:
            raise ValueError(
                f'{source}: expected no {extra}, got {node[extra]!r}; fix: take it out, the '
                'weights lie beside'
            )
        if 'type' in node and not _is_registered(node['type']):
            raise ValueError(
                f'{source}: expected registered modules, got type={node["type"]!r}; '
                'fix: import the module that registers it first, if you trust it'
            )
    return Config(content)


def _is_registered(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    if TIMM.fullmatch(name):
        return True
    if name.startswith('mmpretrain.'):
        from cnnlstm_mm.models.backbones.torchvision_stand_in import without_torchvision

        with without_torchvision():
            from mmpretrain.registry import MODELS as THEIRS

            THEIRS.import_from_location()
        return name.partition('.')[2] in THEIRS.module_dict
    bare = SCOPE.sub('', name)
    chains = [registry for first in REGISTRIES for registry in (first, first.parent) if registry]
    return any(bare in registry.module_dict for registry in chains)
