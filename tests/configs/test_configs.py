"""Every config: pipelines, classes, one training step, and help for missing files."""

import re

import pytest
import torch
from helpers.recipes import BASE, CLASSES, CONFIGS, MODES, TRAINED, VIDEO_CONFIGS, load
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.dataset import Compose

from cnnlstm_mm.config import datasets_of, nested_dicts
from cnnlstm_mm.engine.launch import check_files
from cnnlstm_mm.mirrored_classes import flip_warning, resolve_flips
from cnnlstm_mm.streaming import StreamingRecognizer
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample


def shrink(model):
    """Make a model of 224x224 quick: few hidden channels, and frames of the
    side that is returned, which stride 32 and a 'valid' kernel allow."""
    if model.get('neck') and model.neck.get('residual'):
        assert model.cls_head.in_channels == model.neck.in_channels
        model.neck.hidden_channels = 8
    elif model.get('neck'):
        assert model.cls_head.in_channels == model.neck.hidden_channels
        model.cls_head.in_channels = model.neck.hidden_channels = 8
    if model.cls_head.type == 'FlattenHead':
        model.cls_head.spatial_size = 1
    padding = (model.get('neck') or {}).get('padding')
    return 96 if padding == 'valid' else 32


def test_every_base_file_is_used():
    for folder, paths in dict(backbones=TRAINED, necks=TRAINED, recipes=CONFIGS).items():
        pattern = re.compile(rf'_base_/{folder}/(\w+)\.py')
        used = {name for path in paths for name in pattern.findall(path.read_text())}
        assert used == {path.stem for path in (BASE / folder).glob('*.py')}


@pytest.mark.parametrize(
    'path', sorted((BASE / 'recipes').glob('*.py')), ids=lambda path: path.stem
)
def test_the_pipelines_of_a_recipe(path):
    cfg = load(path)
    for mode in MODES:
        for dataset in datasets_of(cfg, mode):
            Compose(dataset['pipeline'])


@pytest.mark.slow
@pytest.mark.parametrize('path', VIDEO_CONFIGS, ids=lambda path: path.stem)
def test_classes_views_and_frames(path):
    cfg = load(path)
    data = path.stem.removesuffix('_features').removesuffix('_16').rpartition('_')[2]
    classes = CLASSES[data]
    assert cfg.model.cls_head.num_classes == classes + ('none_class' in cfg)
    assert cfg.model.cls_head.average_clips == 'prob'
    for mode in MODES:
        pipeline = cfg[f'{mode}_dataloader'].dataset.pipeline
        assert cfg[f'{mode}_pipeline'] == pipeline
        for node in nested_dicts(cfg.model):
            if 'num_segments' in node:
                assert pipeline[1].clip_len == node.num_segments


@pytest.mark.slow
@pytest.mark.parametrize('path', TRAINED, ids=lambda path: path.stem)
def test_config_trains_one_step(path):
    cfg = load(path)
    classes = cfg.model.cls_head.num_classes
    pipeline = {t.type: t for t in cfg.val_dataloader.dataset.pipeline}
    crop = pipeline.get('CenterCrop')
    width, height = (crop.crop_size, crop.crop_size) if crop else pipeline['Resize'].scale
    if width == 224:
        width = height = shrink(cfg.model)
    for node in nested_dicts(cfg.model):
        if 'num_segments' in node:
            node.num_segments = 2  # the frames below
        if node.get('pretrained') is True:
            node.pretrained = False

    model = MODELS.build(cfg.model).train()
    clips = torch.randint(0, 256, (2, 1, 3, 2, height, width), dtype=torch.uint8)
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
    assert cfg.data_help.startswith('fix: ') and 'data/' in cfg.data_help
    weights = [
        node.checkpoint for node in nested_dicts(cfg.model) if node.get('type') == 'Pretrained'
    ]
    weights += [
        node.pretrained
        for node in nested_dicts(cfg.model)
        if isinstance(node.get('pretrained'), str) and '://' not in node.pretrained
    ]
    assert bool(weights) == cfg.get('weights_help', '').startswith('fix: ')
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
    assert (cfg.model.neck.kernel_size, cfg.model.neck.padding) == (3, 'valid')  # 7x7 to 5x5
    assert cfg.model.neck.return_mode == 'last'
    model = MODELS.build(cfg.model)
    # MobileNet 3,206,976 trainable; ConvLSTM2D 4 (3 3 (1024 + 256) 256 + 256);
    # Dense 5 5 256 256 + 256; Dense 256 101 + 101.
    wanted = 3206976 + 4 * (9 * 1280 * 256 + 256) + 6400 * 256 + 256 + 256 * 101 + 101
    assert sum(p.numel() for p in model.parameters()) == wanted


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


@pytest.mark.parametrize('data', ['sthv2', 'jester', 'egogestar'])
def test_flips_of_sides_change_the_label(data, tmp_path):
    """Or there is none, where most classes have no mirror image among the others."""
    path = next(path for path in CONFIGS if path.stem.partition('_lstm_')[2] == data)
    cfg = load(path)
    names = ['Pushing from left to right', 'Pushing from right to left', 'Nothing']
    (tmp_path / 'label_map.txt').write_text('\n'.join(names))
    cfg.data_root = cfg.train_dataloader.dataset.data_root = str(tmp_path)
    resolve_flips(cfg)
    flips = [t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Flip']
    assert [flip.flip_label_map for flip in flips] == (
        [] if data == 'egogestar' else [{0: 1, 1: 0}]
    )
    assert not flip_warning(cfg)


@pytest.mark.slow
@pytest.mark.parametrize('neck', ['lstm', 'convlstm', 'lightconvlstm', 'minconvlstm'])
def test_recipes_of_order_stream(neck):
    cfg = load(ROOT / f'configs/mobilenetv2_{neck}_sthv2.py')
    shrink(cfg.model)
    rec = StreamingRecognizer.from_model(MODELS.build(cfg.model), cfg)
    scores, state = rec.step(torch.zeros(1, 3, 32, 32))
    scores, state = rec.step(torch.ones(1, 3, 32, 32), state)
    assert scores.shape == (1, 174) and state.steps.tolist() == [2]
