"""Every backbone of MMAction2, and some of mmpretrain and timm, x every recurrent neck.

What does not go together is refused, and all of it is in docs/matrix.md.
"""

import importlib.util

import pytest
import torch
from helpers.matrix import MMACTION, MMPRETRAIN, T
from helpers.mmpretrain_import import import_mmpretrain
from helpers.necks import NECKS, neck_config
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.runner import load_checkpoint, save_checkpoint

from cnnlstm_mm.models import fit
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

OPTIONS = dict(
    ConvLSTMNeck=dict(gate_conv='depthwise'), LSTMPoolingNeck=dict(temporal_pool='attention')
)
HEADS = dict(
    I3DHead=dict(in_channels=6),
    X3DHead=dict(in_channels=6),
    TPNHead=dict(in_channels=6),
    FlattenHead=dict(in_channels=6, spatial_size=1, hidden_channels=8),
    PerStepHead=dict(in_channels=6),
    FeatureHead=dict(),
)
SHORT = MMACTION['MobileNetV1']


@pytest.fixture(scope='session')
def mmpretrain():
    try:
        import_mmpretrain()
    except ModuleNotFoundError as error:
        pytest.skip(f'needs mmpretrain and timm: {error}')


def config(backbone, channels, neck, head='I3DHead', **options):
    cls_head = dict(type=head, average_clips='prob', **HEADS[head])
    if head != 'FeatureHead':
        cls_head.update(num_classes=3, dropout_ratio=0.0)
    return Config(
        dict(
            model=dict(
                type='Recognizer3D',
                backbone=backbone,
                neck=dict(
                    neck_config(neck, channels=channels),
                    **{**OPTIONS.get(neck, {}), **options, 'hidden_channels': 6},
                ),
                cls_head=cls_head,
                data_preprocessor=dict(
                    type='ActionDataPreprocessor',
                    mean=[127.5] * 3,
                    std=[127.5] * 3,
                    format_shape='NCTHW',
                ),
            )
        )
    )


def build(cfg):
    fit.check_fit(cfg.model)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def predict(model, videos):
    """What the model says of uint8 videos, each [views, 3, T, H, W]."""
    model.eval()
    samples = [ActionDataSample().set_gt_label(0) for _ in videos]
    with torch.no_grad():
        done = model.test_step(dict(inputs=list(videos), data_samples=samples))
    return torch.stack([d if torch.is_tensor(d) else d.pred_score for d in done])


def random_videos(side):
    return torch.randint(0, 256, (2, 2, 3, T, side, side), dtype=torch.uint8)


def trains(model, videos):
    """One backward pass; the names of parameters without a gradient."""
    model.train()
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 2)]
    data = model.data_preprocessor(dict(inputs=list(videos[:, :1]), data_samples=samples), True)
    loss = model(**data, mode='loss')['loss_cls']
    assert loss.isfinite()
    loss.backward()
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


def check(case, neck, path):
    backbone, channels, side, steps = case
    cfg = config(backbone, channels, neck)
    model = build(cfg)
    videos = random_videos(side)
    assert trains(model, videos) == []
    together = predict(model, videos)
    assert together.shape == (2, 3)
    with torch.no_grad():
        features = model.backbone(torch.zeros(1, 3, T, side, side))
    if isinstance(features, tuple):
        features = features[-1]
    assert features.shape[1:3] == (channels, steps)
    alone = [predict(model, videos[:, v : v + 1]) for v in range(2)]
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=0, atol=1e-5)

    save_checkpoint(dict(state_dict=model.state_dict()), str(path))
    again = MODELS.build(cfg.model)
    load_checkpoint(again, str(path), strict=True)
    torch.testing.assert_close(predict(again, videos[:, :1]), alone[0], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('name', MMACTION)
def test_mmaction(name, neck, tmp_path):
    if name == 'ResNetTIN' and importlib.util.find_spec('mmcv._ext') is None:
        pytest.skip('needs the full mmcv: mmcv-lite has no compiled ops')
    check(MMACTION[name], neck, tmp_path / 'model.pth')


@pytest.mark.slow
@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('name', MMPRETRAIN)
def test_mmpretrain_and_timm(name, neck, tmp_path, mmpretrain):
    check(MMPRETRAIN[name], neck, tmp_path / 'model.pth')


@pytest.mark.slow
@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('head', HEADS)
def test_heads(head, neck):
    backbone, channels, side, _ = SHORT
    options = {}
    if head == 'PerStepHead':
        options = {MODELS.get(neck).pool_option: 'sequence'}
    model = build(config(backbone, channels, neck, head, **options))
    videos = random_videos(side)
    if head != 'FeatureHead':
        assert trains(model, videos) == []
    together = predict(model, videos)
    assert together.shape == (2, 6 if head == 'FeatureHead' else 3)
    alone = [predict(model, videos[:, v : v + 1]) for v in range(2)]
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=0, atol=1e-5)


def registered(part):
    homes = (
        f'mmaction.models.{part}.',
        f'cnnlstm_mm.models.{part}.',
        'cnnlstm_mm.features.precomputed_features',
    )
    if part != 'backbones':
        homes = homes[:2]
    return {name for name, kind in MODELS.module_dict.items() if kind.__module__.startswith(homes)}


def test_no_backbone_and_no_head_is_left_out():
    fits = {**fit.FRAME_BACKBONES, **fit.CLIP_BACKBONES}
    assert not fits.keys() & fit.MISFIT_BACKBONES.keys()
    # PrecomputedFeatures trains in test_embeddings_quickstart.py; MMAction2
    # registers MobileOneTSM where mmpretrain imports.
    assert fits.keys() - {'PrecomputedFeatures', 'MobileOneTSM'} == MMACTION.keys()
    known = fits.keys() | fit.MISFIT_BACKBONES.keys()
    assert known - {'MobileOneTSM'} == registered('backbones') - {'TimeDistributed', 'MobileOneTSM'}
    assert fit.HEADS.keys() == HEADS.keys()
    assert fit.HEADS.keys() | fit.MISFIT_HEADS.keys() == registered('heads')


def test_the_table_in_the_docs_is_complete():
    text = (ROOT / 'docs/matrix.md').read_text()
    for table in (
        fit.FRAME_BACKBONES,
        fit.CLIP_BACKBONES,
        fit.MISFIT_BACKBONES,
        fit.HEADS,
        fit.MISFIT_HEADS,
    ):
        for name, note in table.items():
            assert f'| `{name}` | {note} |' in text
    for name in MMPRETRAIN:
        assert f'`{name.removeprefix("timm ")}`' in text


@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize('name', fit.MISFIT_BACKBONES)
def test_misfits_are_refused_by_name(name, neck):
    for backbone in (dict(type=name), dict(type=f'mmaction.{name}')):
        cfg = config(backbone, 8, neck)
        with pytest.raises(ValueError, match=f'{name}.*{neck}.*it '):
            fit.check_fit(cfg.model)


@pytest.mark.parametrize('name', fit.MISFIT_HEADS)
def test_misfit_heads_are_refused_by_name(name):
    cfg = config(SHORT[0], SHORT[1], 'LSTMPoolingNeck')
    cfg.model.cls_head.type = name
    with pytest.raises(ValueError, match=f'{name}.*use I3DHead'):
        fit.check_fit(cfg.model)
    cfg.model.neck = None
    fit.check_fit(cfg.model)


@pytest.mark.parametrize(
    'backbone, words',
    [
        (dict(type='ResNet', depth=18), 'backbone=dict.*TimeDistributed'),
        (dict(type='mmpretrain.MobileNetV3'), 'backbone=dict.*TimeDistributed'),
        (dict(type='TimeDistributed', backbone=dict(type='X3D')), 'X3D.*without TimeDistributed'),
    ],
    ids=str,
)
def test_wrapped_where_it_must_be(backbone, words):
    with pytest.raises(ValueError, match=words):
        fit.check_fit(config(backbone, 8, 'ConvLSTMNeck').model)


@pytest.mark.parametrize('neck', NECKS)
@pytest.mark.parametrize(
    'backbone, error, words',
    [
        (
            dict(
                type='ResNet3dSlowFast',
                pretrained=None,
                resample_rate=2,
                speed_ratio=2,
                channel_ratio=4,
                slow_pathway=dict(
                    type='resnet3d',
                    depth=50,
                    lateral=True,
                    conv1_kernel=(1, 7, 7),
                    pretrained=None,
                    fusion_kernel=5,
                    base_channels=8,
                    inflate=(0, 0, 1, 1),
                ),
                fast_pathway=dict(
                    type='resnet3d',
                    depth=50,
                    lateral=False,
                    conv1_kernel=(5, 7, 7),
                    pretrained=None,
                    base_channels=2,
                ),
            ),
            ValueError,
            'pathways of 2 and 4 steps.*ResNet3dSlowOnly',
        ),
        (dict(MMACTION['MViT'][0], output_cls_token=True), TypeError, 'output_cls_token=False'),
        (
            dict(MMACTION['VisionTransformer'][0], return_feat_map=False),
            ValueError,
            'one vector a clip.*return_feat_map=True',
        ),
        (
            dict(
                type='TimeSformer',
                num_frames=T,
                img_size=32,
                patch_size=16,
                embed_dims=24,
                num_heads=2,
                num_transformer_layers=1,
            ),
            ValueError,
            'one vector a clip',
        ),
    ],
    ids=lambda value: value['type'] if isinstance(value, dict) else '',
)
def test_necks_refuse_what_was_not_checked_before(backbone, error, words, neck):
    """Upstream's own tools do not call check_fit."""
    model = MODELS.build(config(backbone, 24, neck).model)
    with pytest.raises(error, match=words):
        model(torch.zeros(1, 1, 3, T, 32, 32), mode='tensor', stage='neck')
