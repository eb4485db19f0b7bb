"""Every config: it loads alone, its parts build, and one step trains."""

import copy
import functools
import itertools
import os
import re

import pytest
import torch
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose

from cnnlstm_mm import compat
from cnnlstm_mm.engine.launch import check_files
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
# That of word vectors trains in test_embeddings_quickstart.py.
VIDEO_CONFIGS = [path for path in CONFIGS if 'embeddings' not in path.stem]
CLASSES = dict(ucf101=101, hmdb51=51, kinetics400=400, weizmann=10, mini10=10, quickstart=8)
RECIPES = list(
    itertools.product(
        ('mobilenet', 'mobilenetv2', 'mobilenetv2tsm', 'resnet50'),
        ('avgpool', 'lstm', 'convlstm', 'lightconvlstm'),
        ('ucf101', 'hmdb51', 'kinetics400', 'weizmann'),
    )
)


def load(path):
    return copy.deepcopy(read(path, os.environ.get('CNNLSTM_MM_SPLIT')))


@functools.cache
def read(path, split):
    return Config.fromfile(path)


def shrink(model):
    """Make a model of 224x224 quick: few hidden channels, and frames of the
    side that is returned, which stride 32 and a 'valid' kernel allow."""
    if model.get('neck'):
        assert model.cls_head.in_channels == model.neck.hidden_channels
        model.cls_head.in_channels = model.neck.hidden_channels = 8
    if model.cls_head.type == 'FlattenHead':
        model.cls_head.spatial_size = 1
    padding = (model.get('neck') or {}).get('padding')
    return 96 if padding == 'valid' else 32


@pytest.mark.parametrize('path', VIDEO_CONFIGS, ids=lambda path: path.stem)
def test_config_trains_one_step(path):
    cfg = load(path)
    classes = CLASSES[path.stem.removesuffix('_features').rpartition('_')[2]]
    assert cfg.model.cls_head.num_classes == classes
    assert cfg.model.cls_head.average_clips == 'prob'
    for mode in ('train', 'val', 'test'):
        Compose(cfg[f'{mode}_dataloader'].dataset.pipeline)
    pipeline = {t.type: t for t in cfg.val_dataloader.dataset.pipeline}
    crop = pipeline.get('CenterCrop')
    side = crop.crop_size if crop else pipeline['Resize'].scale[0]
    if side == 224:
        side = shrink(cfg.model)
    for node in compat.dicts(cfg.model):
        if 'num_segments' in node:
            for mode in ('train', 'val', 'test'):
                sampling = cfg[f'{mode}_dataloader'].dataset.pipeline[1]
                assert sampling.clip_len == node.num_segments
            node.num_segments = 2  # the frames below

    model = MODELS.build(cfg.model).train()
    clips = torch.randint(0, 256, (2, 1, 3, 2, side, side), dtype=torch.uint8)
    samples = [ActionDataSample().set_gt_label(k) for k in (0, classes - 1)]
    data = model.data_preprocessor(dict(inputs=list(clips), data_samples=samples), True)
    assert data['inputs'].abs().max() < 3, 'the frames must be normalised'
    losses = model(**data, mode='loss')
    losses['loss_cls'].backward()
    frozen = cfg.model.backbone.frozen if 'frozen' in cfg.model.backbone else False
    stages = cfg.model.backbone.get('backbone', {}).get('frozen_stages', -1)
    first = tuple(
        f'backbone.backbone.{stage}.'
        for stage in ('conv1', *(f'layer{k}' for k in range(1, stages + 1)))[: stages + 1]
    )
    for name, parameter in model.named_parameters():
        trained = not (frozen and name.startswith('backbone.')) and not (
            first and name.startswith(first)
        )
        assert (parameter.grad is not None) == trained, name


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_says_how_to_get_what_is_missing(path):
    cfg = load(path)
    assert 'data/' in cfg.data_help
    weights = [
        node.checkpoint for node in compat.dicts(cfg.model) if node.get('type') == 'Pretrained'
    ]
    weights += [
        node.pretrained
        for node in compat.dicts(cfg.model)
        if '://' not in (node.get('pretrained') or '://')
    ]
    assert bool(weights) == bool(cfg.get('weights_help'))
    assert cfg.optim_wrapper.clip_grad.max_norm > 0


@pytest.mark.parametrize(
    'weights',
    [
        dict(init_cfg=dict(type='Pretrained', checkpoint='absent/w.pth')),
        dict(pretrained='absent/w.pth'),
    ],
    ids=['init_cfg', 'pretrained'],
)
def test_missing_weights_are_named_before_anything_is_built(weights):
    cfg = Config(
        dict(
            weights_help='Ask the library.',
            model=dict(
                backbone=dict(
                    type='TimeDistributed', backbone=dict(type='MobileNetV2TSM', **weights)
                )
            ),
        )
    )
    with pytest.raises(FileNotFoundError, match='(?s)absent/w.pth.*library'):
        check_files(cfg, ['train'])


def test_the_seed_is_the_seed():
    cfg = load(ROOT / 'configs/mobilenet_convlstm_ucf101.py')
    sampling = cfg.train_dataloader.dataset.pipeline[1]
    assert (sampling.clip_len, sampling.num_clips) == (32, 1)
    model = MODELS.build(cfg.model)
    # MobileNet 3,206,976 trainable; ConvLSTM2D 4 (3 3 (1024 + 256) 256 + 256);
    # Dense 5 5 256 256 + 256; Dense 256 101 + 101.
    wanted = 3206976 + 4 * (9 * 1280 * 256 + 256) + 6400 * 256 + 256 + 256 * 101 + 101
    assert sum(p.numel() for p in model.parameters()) == wanted


def readme_table():
    """The rows of the README's table of recipes: data to backbones by
    neck."""
    lines = (ROOT / 'README.md').read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith('| `{data}` |'))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith('|'):
            return rows
        data, *cells = [re.findall('`([^`]+)`', cell) for cell in line.strip('|').split('|')]
        rows[data[0]] = cells


def test_the_readme_names_every_recipe_and_no_other():
    named = {
        (backbone, neck, data)
        for data, cells in readme_table().items()
        for neck, cell in zip(('avgpool', 'lstm', 'convlstm', 'lightconvlstm'), cells)
        for backbone in cell
    }
    assert named == set(RECIPES)


@pytest.mark.parametrize('data', ['ucf101', 'hmdb51', 'kinetics400', 'weizmann'])
def test_recipes_of_one_data_set_differ_in_the_model_alone(data, monkeypatch):
    monkeypatch.setenv('CNNLSTM_MM_SPLIT', '2')
    seen = {}
    for backbone, neck, _ in [r for r in RECIPES if r[2] == data]:
        cfg = load(ROOT / f'configs/{backbone}_{neck}_{data}.py')
        frames = cfg.test_pipeline[1].clip_len
        assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline
        rest = {
            name: cfg[name]
            for name in (
                'optim_wrapper',
                'param_scheduler',
                'train_cfg',
                'train_dataloader',
                'val_dataloader',
                'test_dataloader',
            )
        }
        assert seen.setdefault(frames, rest) == rest
        neck_cfg = cfg.model.neck or {}
        assert neck_cfg.get('type') == dict(avgpool=None, lstm='LSTMPoolingNeck').get(
            neck, 'ConvLSTMNeck'
        )
        assert neck_cfg.get('gate_conv', 'full') == (
            'depthwise' if neck == 'lightconvlstm' else 'full'
        )
        backbones = dict(
            mobilenet='MobileNetV1',
            mobilenetv2='MobileNetV2',
            mobilenetv2tsm='MobileNetV2TSM',
            resnet50='ResNet',
        )
        assert cfg.model.backbone.backbone.type == backbones[backbone]
        split = cfg.train_dataloader.dataset.ann_file
        assert data == 'kinetics400' or 'train_split_2_' in split
    assert set(seen) == ({8} if data == 'weizmann' else {8, 32})


def test_the_schedule_of_kinetics():
    cfg = load(ROOT / 'configs/mobilenetv2_convlstm_kinetics400.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'SGD' and 2e-5 <= optimizer.weight_decay <= 4e-5
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.param_scheduler[1].milestones == [40, 80]
    assert cfg.optim_wrapper.clip_grad.max_norm == 20
    assert 'MultiScaleCrop' in [t.type for t in cfg.train_dataloader.dataset.pipeline]


def test_no_config_flips_the_order_only_data():
    cfg = load(ROOT / 'configs/mobilenet_convlstm_quickstart.py')
    assert 'Flip' not in [t.type for t in cfg.train_dataloader.dataset.pipeline]
