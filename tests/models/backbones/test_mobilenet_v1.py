"""MobileNetV1 as a module; its numbers are tested in test_keras_parity.py."""

import pytest
import torch
from torch import nn

from mmaction.registry import MODELS


def build(**kwargs):
    return MODELS.build(dict(type='MobileNetV1', widen_factor=0.25, **kwargs))


def reference(model, x):
    """The network spelled out: Keras's padding, then 'valid'."""
    pads = [int(size % 2 == 1) for size in x.shape[-2:]]
    x = nn.functional.pad(x, (pads[1], 1, pads[0], 1))
    x = model.conv1.activate(
        model.conv1.bn(nn.functional.conv2d(x, model.conv1.conv.weight, stride=2))
    )
    for i in range(1, 14):
        layer = getattr(model, f'layer{i}')
        conv = layer.depthwise_conv.conv
        pad = (0, 1, 0, 1) if i in (2, 4, 6, 12) else (1, 1, 1, 1)
        x = nn.functional.conv2d(
            nn.functional.pad(x, pad),
            conv.weight,
            stride=2 if i in (2, 4, 6, 12) else 1,
            groups=len(conv.weight),
        )
        x = layer.depthwise_conv.bn(x).clamp(0, 6)
        x = layer.pointwise_conv.bn(layer.pointwise_conv.conv(x)).clamp(0, 6)
    return x


@pytest.mark.parametrize('size', [(64, 64), (65, 97), (33, 50)])
def test_pads_as_keras(size):
    model = build().eval()
    model.init_weights()
    x = torch.randn(2, 3, *size)
    features = model(x)
    assert features.std() > 0.005, 'features near 0 would prove nothing'
    torch.testing.assert_close(features, reference(model, x))


def test_stages():
    model = build(out_indices=(0, 2, 4, 10, 12))
    features = model(torch.randn(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [
        (2, 16, 32, 48),
        (2, 32, 16, 24),
        (2, 64, 8, 12),
        (2, 128, 4, 6),
        (2, 256, 2, 3),
    ]
    last = build(out_indices=(4,))
    assert last(torch.randn(2, 3, 64, 96)).shape == (2, 64, 8, 12)


@pytest.mark.parametrize('stage', [4, 12])
def test_every_parameter_gets_a_gradient(stage):
    model = build(out_indices=(stage,))
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('stages', [-1, 0, 2, 13])
def test_frozen_stages(stages):
    model = build(frozen_stages=stages)
    frozen = ['conv1'] * (stages >= 0)
    frozen += [f'layer{i + 1}' for i in range(stages)]
    assert {n.split('.')[0] for n, p in model.named_parameters() if not p.requires_grad} == set(
        frozen
    )
    before = {n: b.clone() for n, b in model.named_buffers()}
    assert model.train() is model
    model(torch.randn(2, 3, 64, 64))
    changed = {n.split('.')[0] for n, b in model.named_buffers() if not torch.equal(b, before[n])}
    layers = {'conv1', *(f'layer{i}' for i in range(1, 14))}
    assert changed == layers - set(frozen)


def test_norm_eval_keeps_statistics_and_trains_weights():
    model = build(norm_eval=True).train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers())
    assert model.layer13.pointwise_conv.bn.weight.grad is not None


def test_with_cp_gives_the_same_gradients():
    plain, recomputed = build(), build(with_cp=True)
    plain.init_weights()
    recomputed.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 64, 64)
    for model in (plain, recomputed):
        model(x).square().mean().backward()
    for (name, p), q in zip(plain.named_parameters(), recomputed.parameters()):
        torch.testing.assert_close(q.grad, p.grad, msg=name)


def test_norm_and_activation():
    model = build()
    assert model.conv1.bn.eps == 1e-3 and model.conv1.bn.momentum == 0.01
    assert isinstance(model.layer3.depthwise_conv.activate, nn.ReLU6)
    model = build(norm_cfg=dict(type='GN', num_groups=2), act_cfg=dict(type='ReLU'))
    assert isinstance(model.layer3.pointwise_conv.gn, nn.GroupNorm)
    assert isinstance(model.layer3.pointwise_conv.activate, nn.ReLU)


def test_pretrained(tmp_path):
    source = build()
    torch.save(source.state_dict(), tmp_path / 'weights.pth')
    model = build(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth')))
    model.init_weights()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, source.state_dict()[name]), name


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(out_indices=(13,)), r'0 to 12.*\(13,\)'),
        (dict(out_indices=()), r'0 to 12.*\(\)'),
        (dict(frozen_stages=14), 'frozen_stages from -1 to 13, got 14'),
    ],
)
def test_refuses_what_it_lacks(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)


def test_refuses_a_width_without_channels():
    with pytest.raises(ValueError, match='>= 1/32, got 0.01'):
        MODELS.build(dict(type='MobileNetV1', widen_factor=0.01))
