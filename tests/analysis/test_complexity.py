"""Multiply-adds against hand counts, mmengine's counter and the model zoo."""

import copy

import pytest
import torch
from helpers.support import ROOT
from mmengine.analysis import FlopAnalyzer, parameter_count
from mmengine.config import Config
from torch import nn

from cnnlstm_mm.lab.analysis.complexity import complexity, count
from cnnlstm_mm.lab.analysis.view_size import view_of
from mmaction.registry import MODELS

T, C, H = 3, 16, 6  # frames, channels of the feature, hidden channels
BACKBONE = dict(type='MobileNetV1', widen_factor=0.125, out_indices=(2,))


def config(neck, side=24, head=None, backbone=BACKBONE, **model):
    """A config whose feature has C channels on side / 4 pixels."""
    backbone = backbone and dict(type='TimeDistributed', backbone=backbone)
    cls_head = dict(type='I3DHead', num_classes=5, in_channels=H)
    return Config(
        dict(
            model=dict(
                type='Recognizer3D',
                backbone=backbone,
                neck=neck,
                cls_head=dict(cls_head, **(head or {})),
                **model,
            ),
            test_pipeline=[
                dict(type='DecordInit'),
                dict(type='SampleFrames', clip_len=T, num_clips=2, test_mode=True),
                dict(type='DecordDecode'),
                dict(type='Resize', scale=(-1, side)),
                dict(type='ThreeCrop', crop_size=side),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs'),
            ],
        )
    )


FRAME = (C + H) * 4 * H  # multiply-adds of a plain LSTM step


@pytest.mark.parametrize(
    'options, a_step',
    [
        (dict(), FRAME),
        (dict(num_layers=2), FRAME + (H + H) * 4 * H),
        (dict(bidirectional=True, num_layers=2), 2 * FRAME + 2 * (2 * H + H) * 4 * H),
        (dict(dense_channels=7, temporal_pool='attention'), C * 7 + (7 + H) * 4 * H + H),
        (dict(spatial_pool='flatten', spatial_size=6), (36 * C + H) * 4 * H),
    ],
    ids=str,
)
def test_lstm_by_hand(options, a_step):
    out = H * (1 + options.get('bidirectional', False))
    cost = complexity(
        config(
            dict(type='LSTMPoolingNeck', in_channels=C, hidden_channels=H, **options),
            head=dict(in_channels=out),
        )
    )
    assert cost['parts']['neck']['flops'] == T * a_step
    assert cost['parts']['cls_head']['flops'] == out * 5


P = 6 * 6  # pixels of the feature


@pytest.mark.slow
@pytest.mark.parametrize(
    'options, a_step',
    [
        (dict(), 4 * H * (C + H) * 9 * P),
        (dict(peephole=True, kernel_size=5), 4 * H * (C + H) * 25 * P),
        (dict(gate_conv='depthwise'), (C + H) * (9 + 4 * H) * P),
        (dict(gate_conv='pooled'), (C * (9 + H) + H * H * 9) * P + 3 * H * (C + H)),
        (dict(reduce_channels=4, gate_conv='depthwise'), C * 4 * P + (4 + H) * (9 + 4 * H) * P),
        (dict(padding='valid'), 4 * H * (C + H) * 9 * 4 * 4),
        (
            dict(num_layers=2, bidirectional=True, fused=False),
            2 * 4 * H * (C + H) * 9 * P + 2 * 4 * H * (2 * H + H) * 9 * P,
        ),
        # Layer normalization of both shares, 5 a value, as mmengine counts it.
        (dict(norm=True), 4 * H * (C + H) * 9 * P + 2 * (5 * 4 * H * P)),
    ],
    ids=str,
)
def test_conv_lstm_by_hand(options, a_step):
    out = H * (1 + options.get('bidirectional', False))
    cfg = config(
        dict(type='ConvLSTMNeck', in_channels=C, hidden_channels=H, **options),
        head=dict(in_channels=out),
    )
    cost = complexity(cfg)
    assert cost['parts']['neck']['flops'] == T * a_step
    if 'norm' not in options:
        neck = MODELS.build(cfg.model.neck)
        reduction = 0 if neck.reduce is None else neck.reduce.weight.numel() * P
        assert neck.conv_lstm.multiply_adds((6, 6)) + reduction == a_step


@pytest.mark.parametrize(
    'backbone, channels',
    [
        (dict(type='MobileNetV2', widen_factor=0.25), 1280),
        (BACKBONE, C),
        (dict(type='ResNet', depth=18), 512),
        (dict(type='ResNetTSM', depth=18, num_segments=T, pretrained2d=False), 512),
    ],
    ids=str,
)
def test_frame_wise_backbones_as_mmengine_counts_them(backbone, channels):
    alone = MODELS.build(dict(backbone))
    alone.eval()
    want = FlopAnalyzer(alone, torch.zeros(T, 3, 24, 24)).total()
    cfg = config(None, backbone=backbone, head=dict(in_channels=channels))
    cost = complexity(cfg)['parts']['backbone']
    assert cost['flops'] == want > 0
    assert cost['params'] == parameter_count(alone)['']


def test_clip_backbone_as_mmengine_counts_it():
    backbone = dict(type='X3D', gamma_w=1, gamma_b=1, gamma_d=1)
    alone = MODELS.build(dict(backbone))
    alone.eval()
    want = FlopAnalyzer(alone, torch.zeros(1, 3, T, 24, 24)).total()
    cfg = config(None, head=dict(in_channels=192))
    cfg.model.backbone = backbone
    assert complexity(cfg)['parts']['backbone']['flops'] == want > 0


def test_the_model_zoos_figure_of_tsm_mobilenetv2():
    """3.269 G for 8 frames, without the head; the size is that of its test
    crops, 256."""
    cfg = Config(
        dict(
            model=dict(
                type='Recognizer2D',
                backbone=dict(type='MobileNetV2TSM', num_segments=8, pretrained2d=False),
                cls_head=dict(
                    type='TSMHead', num_segments=8, num_classes=400, in_channels=1280, is_shift=True
                ),
            ),
            test_pipeline=[
                dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
                dict(type='DecordDecode'),
                dict(type='Resize', scale=(-1, 256)),
                dict(type='ThreeCrop', crop_size=256),
                dict(type='FormatShape', input_format='NCHW'),
            ],
        )
    )
    cost = complexity(cfg)
    assert cost['view'] == dict(views=3, frames=8, height=256, width=256)
    assert round(cost['parts']['backbone']['flops'] / 1e9, 3) == 3.269
    assert cost['params'] == 2_736_272


def test_frozen_parameters_are_told_apart():
    cfg = config(dict(type='LSTMPoolingNeck', in_channels=C, hidden_channels=H))
    cfg.model.backbone.frozen = True
    before = copy.deepcopy(cfg.to_dict())
    cost = complexity(cfg)
    assert cfg.to_dict() == before
    parts = cost['parts']
    assert parts['backbone']['trainable_params'] == 0
    assert parts['neck']['params'] == 4 * H * (C + H + 2)
    assert (
        cost['trainable_params']
        == parts['neck']['params'] + parts['cls_head']['params']
        < cost['params']
    )
    assert cost['params'] == sum(p['params'] for p in parts.values())
    assert cost['flops'] == sum(p['flops'] for p in parts.values())


@pytest.mark.parametrize(
    'neck',
    [
        dict(type='ConvLSTMNeck', gate_conv='pooled', return_mode='mean'),
        dict(type='LSTMPoolingNeck', temporal_pool='attention', num_layers=2),
    ],
    ids=lambda neck: neck['type'],
)
def test_a_frame_of_a_stream(neck):
    cfg = config(dict(neck, in_channels=C, hidden_channels=H))
    cost, frame = complexity(cfg), complexity(cfg)['per_frame']
    for part in ('backbone', 'neck'):
        assert T * frame['parts'][part] == cost['parts'][part]['flops']
    assert frame['parts']['cls_head'] == 5 * H
    assert frame['flops'] == sum(frame['parts'].values())


def test_a_model_that_cannot_stream_says_why():
    cfg = config(
        dict(type='LSTMPoolingNeck', in_channels=C, hidden_channels=H, bidirectional=True),
        head=dict(in_channels=2 * H),
    )
    assert 'bidirectional=False' in complexity(cfg)['per_frame']['reason']


def test_attention_in_one_operator():

    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x[..., :5, :], x[..., :5, :3])

    heads, length, size = 2, 7, 8
    counted = count(Attention(), torch.zeros(1, heads, length, size))
    assert counted.total() == heads * length * 5 * (size + 3)


def test_views_are_those_of_the_pipeline():
    cfg = config(None, head=dict(in_channels=C))
    assert view_of(cfg) == (6, T, 24, 24)
    del cfg.test_pipeline[4]
    assert view_of(cfg) == (2, T, 24, 32)
    assert view_of(cfg, video_size=(100, 50)) == (2, T, 48, 24)
    assert complexity(cfg, shape=(2, 8, 8))['view']['frames'] == 2


@pytest.mark.slow
def test_the_light_recipe_is_as_light_as_tsm():
    cfg = Config.fromfile(ROOT / 'configs/mobilenetv2_lightconvlstm_kinetics400.py')
    cost = complexity(cfg)
    assert cost['view'] == dict(views=3, frames=8, height=224, width=224)
    assert cost['flops'] <= 3.3e9


def test_what_cannot_be_counted_says_what_to_do():
    cfg = config(None)
    cfg.test_pipeline = []
    with pytest.raises(ValueError, match='--shape FRAMES HEIGHT WIDTH'):
        complexity(cfg)
    with pytest.raises(ValueError, match="Recognizer3D.*'TSNLike'"):
        complexity(Config(dict(model=dict(type='TSNLike'))))
