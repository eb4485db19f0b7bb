"""What every recurrent neck does, whoever wrote it."""

import copy
import pickle

import pytest
import torch
from helpers.necks import NECKS, OPTIONS, POOLED, build_neck, neck_config
from mmengine.config import Config

from cnnlstm_mm.models import fit
from cnnlstm_mm.models.necks import PaddedFeature
from mmaction.registry import MODELS

EXACT = dict(rtol=1e-9, atol=1e-12)
CAUSAL = [(name, options) for name, options in OPTIONS if 'bidirectional' not in options]
PADDED = [
    (name, options, pool)
    for name, options in OPTIONS
    for pool in MODELS.get(name).pools
    if pool != 'sequence'
]
BACKBONE = dict(
    type='TimeDistributed',
    backbone=dict(
        type='MobileNetV1', widen_factor=1 / 16, out_indices=(4,), norm_cfg=dict(type='BN')
    ),
)


def clip(batch=2, steps=5, channels=6):
    return torch.randn(batch, channels, steps, 3, 3, dtype=torch.float64)


def double(name, pool=None, projection=True, **options):
    """A neck in float64; its residual, if any, no longer at zero."""
    neck = build_neck(name, pool, **options).double()
    if neck.residual and projection:
        torch.nn.init.normal_(neck.projection.weight)
        torch.nn.init.normal_(neck.projection.bias)
    return neck


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('name, pool', POOLED)
def test_steps_chunks_and_clip_agree(name, pool, residual):
    agree(double(name, pool, residual=residual))


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('pool', ['mean', 'last'])
@pytest.mark.parametrize('name, options', CAUSAL)
def test_options_step_by_step(name, options, pool, residual):
    agree(double(name, pool, residual=residual, **options))


def agree(neck):
    x = clip()
    want = (
        neck(x)[0]
        if neck.every_step
        else torch.cat([neck(x[:, :, : t + 1])[0] for t in range(5)], dim=2)
    )
    state = neck.init_state(2, (3, 3), torch.float64)
    assert all(not value.any() and len(value) == 2 for value in state.values())
    whole, end = neck.forward_steps(x, state)
    torch.testing.assert_close(whole, want, **EXACT)
    assert whole.shape[1] == neck.out_channels
    parts = []
    for part in (x[:, :, :1], x[:, :, 1:2], x[:, :, 2:]):
        output, state = neck.forward_steps(part, pickle.loads(pickle.dumps(state)))
        parts.append(output)
    torch.testing.assert_close(torch.cat(parts, 2), want, **EXACT)
    assert state.keys() == end.keys()
    for key, value in end.items():
        torch.testing.assert_close(state[key], value, **EXACT)
    assert state['count'].tolist() == [5, 5]


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('name, options, pool', PADDED)
def test_padded_batch_equals_each_sequence_alone(name, options, pool, residual):
    neck = double(name, pool, residual=residual, **options)
    lengths = torch.tensor([3, 7, 16])
    x = clip(3, 16)
    grads = []
    for padded in (False, True):
        neck.zero_grad()
        if padded:
            filled = x.clone()
            for k, length in enumerate(lengths):
                filled[k, :, length:] = torch.nan
            got = neck(PaddedFeature(filled, lengths))[0]
        else:
            got = torch.cat([neck(x[k : k + 1, :, :n])[0] for k, n in enumerate(lengths)])
        got.square().sum().backward()
        grads.append([got.detach(), *(p.grad for p in neck.parameters())])
    for alone, together in zip(*grads):
        torch.testing.assert_close(together, alone, **EXACT)


@pytest.mark.parametrize('name, options', OPTIONS)
def test_every_parameter_has_a_gradient(name, options):
    neck = double(name, 'mean', residual=True, **options)
    neck(clip())[0].square().sum().backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize('name, options', OPTIONS)
@pytest.mark.parametrize('pool', ['last', 'mean', 'sequence'])
def test_untrained_residual_is_the_average(name, options, pool):
    """Whatever the recurrence does, before and after init_weights."""
    neck = double(name, pool, projection=False, residual=True, **options)
    x = clip()
    want = x if pool == 'sequence' else x.mean(2, keepdim=True)
    if not neck.keeps_space:
        want = want.mean((3, 4), keepdim=True)
    assert neck.out_channels == 6
    torch.testing.assert_close(neck(x)[0], want, **EXACT)
    if 'bidirectional' not in options:
        steps, _ = neck.forward_steps(x, neck.init_state(2, (3, 3), torch.float64))
        torch.testing.assert_close(steps[:, :, -1:], want[:, :, -1:], **EXACT)
    neck(x)[0].square().sum().backward()
    assert neck.projection.weight.grad.any(), 'it can leave zero'


def test_residual_needs_an_output_of_the_input_size():
    neck = build_neck('ConvLSTMNeck', residual=True, padding='valid')
    with pytest.raises(ValueError, match=r"\(3, 3\), got \(1, 1\); fix: padding='same'"):
        neck(clip().float())


@pytest.mark.parametrize('name', NECKS)
def test_copies_and_pickles(name):
    neck, x = double(name, residual=True), clip()
    for other in (copy.deepcopy(neck), pickle.loads(pickle.dumps(neck))):
        assert type(other) is type(neck)
        torch.testing.assert_close(other(x)[0], neck(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize('name', NECKS)
@pytest.mark.parametrize(
    'options, words',
    [
        (dict(tbptt_len=0), 'tbptt_len'),
        (dict(tbptt_len=2.0), 'tbptt_len'),
        (dict(carry_prob=1.1), 'carry_prob'),
        (dict(residual=1), 'residual'),
        (dict(in_index='x'), 'in_index'),
        (dict(pool='first'), "got 'first'"),
        (dict(pool='last', tbptt_len=2), 'PerStepHead'),
    ],
    ids=str,
)
def test_options_that_do_not_fit(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_neck(name, **options)


def recognizer(neck, backbone=BACKBONE, **head):
    model = dict(
        type='Recognizer3D',
        backbone=backbone,
        neck=neck,
        cls_head=dict(type='I3DHead', num_classes=3, in_channels=4, **head),
    )
    return Config(dict(model=model)).model


@pytest.mark.parametrize('name', NECKS)
def test_channels_are_those_of_the_backbone(name):
    cfg = recognizer(neck_config(name))
    del cfg.neck.in_channels
    model = MODELS.build(cfg).train()
    assert model.neck.in_channels == 16
    assert all(module.training for module in model.modules())
    norms = [m for m in model.modules() if hasattr(m, 'running_mean')]
    assert norms and not any(norm.running_mean.any() for norm in norms), 'the trial left traces'
    want = MODELS.build(recognizer(neck_config(name, channels=16)))
    want.load_state_dict(model.state_dict())
    x = torch.randn(1, 1, 3, 4, 32, 32)
    torch.testing.assert_close(
        *(m.eval()(x, mode='tensor', stage='head')[0] for m in (model, want)), rtol=0, atol=0
    )


@pytest.mark.parametrize('name', NECKS)
def test_channels_of_a_stage_and_of_a_clip_backbone(name):
    stages = dict(type='MobileNetV1', widen_factor=1 / 16, out_indices=(1, 4))
    cfg = recognizer(
        dict(neck_config(name, in_index=0), in_channels=None),
        dict(type='TimeDistributed', backbone=dict(stages, norm_cfg=dict(type='BN'))),
    )
    assert MODELS.build(cfg).neck.in_channels == 8
    cfg = recognizer(
        dict(neck_config(name), in_channels=None),
        dict(type='X3D', gamma_w=0.5, gamma_b=1, gamma_d=0.5),
    )
    assert MODELS.build(cfg).neck.in_channels == 128


@pytest.mark.parametrize('name', NECKS)
def test_without_a_backbone_the_channels_are_asked_for(name):
    neck = MODELS.build(dict(neck_config(name), in_channels=None))
    with pytest.raises(ValueError, match=f'{name}: expected in_channels, got None'):
        neck(clip())
    backbone = dict(type='TimeSformer', num_frames=4, img_size=48, patch_size=16, embed_dims=24)
    backbone.update(num_heads=2, num_transformer_layers=1)
    with pytest.raises(ValueError, match=f'{name}.in_channels=None.*TimeSformer.*set in_channels'):
        MODELS.build(recognizer(dict(neck_config(name), in_channels=None), backbone))


@pytest.mark.parametrize('name', NECKS)
def test_maps_are_read_where_the_class_says_so(name):
    """The feature store keeps means where the neck averages each frame."""
    cfg = neck_config(name)
    assert fit.neck_class(cfg).reads_maps(cfg) == MODELS.get(name).keeps_space
    neck, x = double(name), clip()
    mean = x.mean((3, 4), keepdim=True)
    same = torch.allclose(neck(x)[0], neck(mean.expand_as(x).contiguous())[0], atol=1e-9)
    assert same != neck.needs_maps
    for options in (dict(spatial_pool='max'), dict(spatial_pool='flatten', spatial_size=3)):
        cfg = neck_config('LSTMPoolingNeck', **options)
        assert fit.neck_class(cfg).reads_maps(cfg) and MODELS.build(cfg).needs_maps
