"""TimeDistributed against a loop over the frames."""

import copy
import importlib.util
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

from cnnlstm_mm.models.backbones import TimeDistributed
from cnnlstm_mm.models.backbones.torchvision_stand_in import without_torchvision
from mmaction.registry import MODELS

V2 = dict(type='MobileNetV2', widen_factor=0.25)


def build(backbone=V2, **kwargs):
    module = MODELS.build(dict(type='TimeDistributed', backbone=backbone, **kwargs))
    module.init_weights()
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_mean, -0.2, 0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.uniform_(m.weight, 0.5, 1.5)
    return module


def frame_by_frame(backbone, x):
    outputs = [backbone(x[:, :, t].contiguous()) for t in range(x.shape[2])]
    return torch.stack(outputs, dim=2)


@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('backbone', [V2, dict(type='MobileNetV1', widen_factor=0.25)])
def test_equals_a_loop_over_frames(backbone, frozen, channels_last):
    module = build(backbone, frozen=frozen, channels_last=channels_last)
    module.eval()
    x = torch.randn(2, 3, 5, 64, 48)
    with torch.no_grad():
        want = frame_by_frame(module.backbone, x)
        got = module(x)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_stages_come_as_a_tuple_and_one_tuple_is_unpacked():
    module = build(dict(V2, out_indices=(2, 6)))
    x = torch.randn(1, 3, 2, 64, 64)
    low, high = module(x)
    assert low.shape[2:] == (2, 8, 8) and high.shape[2:] == (2, 2, 2)

    class OneTuple(nn.Module):
        def forward(self, x):
            return (x,)

    module.backbone = OneTuple()
    assert torch.equal(module(x), x)


def test_pooled_features_become_maps_of_one_pixel():
    module = build()
    module.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(2, 3, 4, 8, 8)
    torch.testing.assert_close(module(x), x.mean((3, 4), keepdim=True))


def test_frozen_stays_frozen_and_builds_no_graph():
    module = build(frozen=True)
    before = copy.deepcopy(module.state_dict())
    x = torch.randn(2, 3, 2, 32, 32)
    for mode in (True, False, True):
        assert module.train(mode) is module
        assert module(x).grad_fn is None
    module.backbone.train()  # what a hook may do; train() mends it
    module.train()
    module(x)
    assert not any(p.requires_grad for p in module.parameters())
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_thawed_gives_every_parameter_a_gradient():
    module = build().train()
    module(torch.randn(2, 3, 2, 32, 32)).square().mean().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None] == []


def test_training_copies_no_activation_before_a_relu6():
    module, plain = build(), MODELS.build(V2)
    module.eval(), plain.eval()
    plain.load_state_dict(module.backbone.state_dict())
    x = torch.randn(2, 3, 2, 32, 32)

    def steps(run):
        with torch.profiler.profile() as profile:
            out = run()
            out.square().sum().backward()
        return out, sum(e.name == 'aten::clone' for e in profile.events())

    out, copies = steps(lambda: module(x))
    want, plain_copies = steps(lambda: plain(x.transpose(1, 2).flatten(0, 1)))
    assert plain_copies - copies >= 35  # MobileNetV2 has 35 of them
    torch.testing.assert_close(out.transpose(1, 2).flatten(0, 1), want, rtol=1e-4, atol=1e-5)
    for a, b in zip(module.backbone.parameters(), plain.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3 * b.grad.abs().max().item())


def test_bf16_is_refused_for_a_backbone_that_is_trained():
    with pytest.raises(ValueError, match='frozen=True.*--amp'):
        build(bf16=True)


@pytest.mark.parametrize(
    'backbone, library, command',
    [
        (dict(type='mmpretrain.MobileNetV3', arch='small'), 'torchvision', 'torchvision torch==2'),
        (dict(type='mmpretrain.TIMMBackbone', model_name='resnet18'), 'mmpretrain', 'mmpretrain'),
        (dict(type='mmpretrain.TIMMBackbone', model_name='resnet18'), 'timm', '--no-deps timm'),
    ],
)
def test_a_missing_library_names_its_command(backbone, library, command, monkeypatch):
    def missing(config):
        raise ModuleNotFoundError(f"No module named '{library}'", name=f'{library}.models')

    monkeypatch.setattr(MODELS, 'build', missing)
    with pytest.raises(
        ModuleNotFoundError, match=f'fix: python -m pip install {command}'
    ) as caught:
        TimeDistributed(backbone)
    assert backbone['type'] in str(caught.value)
    monkeypatch.setattr(MODELS, 'build', lambda config: import_module('no_such_module'))
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'no_such_module'$"):
        TimeDistributed(backbone)


@pytest.mark.parametrize('shape', [(2, 3, 32, 32), (2, 8, 3, 32, 32)])
def test_wrong_input_names_the_cure(shape):
    with pytest.raises(ValueError, match='NCTHW') as caught:
        build()(torch.randn(shape))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize(
    'backbone',
    [
        dict(V2, out_indices=(0, 2)),
        dict(V2, type='MobileNetV2TSM', out_indices=(2,), num_segments=4, pretrained2d=False),
    ],
)
def test_unused_stages_are_dropped_and_nothing_changes(backbone):
    whole = build(backbone).eval()
    cut = build(backbone, drop_unused=True).eval()
    cut.load_state_dict(whole.state_dict(), strict=False)
    x = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        want, got = whole(x), cut(x)
    assert torch.equal(want[-1], got[-1])
    names = {name.split('.')[1] for name, _ in cut.named_parameters()}
    assert names == {'conv1', 'layer1', 'layer2', 'layer3'}
    cut.train()
    feature = cut(x)
    (feature[-1] if isinstance(feature, tuple) else feature).sum().backward()
    assert all(p.grad is not None for p in cut.parameters())
    with pytest.raises(ValueError, match='num_stages of ResNet'):
        build(dict(type='ResNet', depth=18, out_indices=(1,)), drop_unused=True)


def test_the_seed_alone_makes_the_backbone():
    def start(seed, drawn, **kwargs):
        torch.manual_seed(seed)
        torch.rand(drawn)  # as a neck that was built before
        module = MODELS.build(dict(type='TimeDistributed', backbone=V2, **kwargs))
        module.init_weights()
        return module.backbone.conv1.conv.weight, torch.rand(3)

    one, after = start(3, 0, init_from_seed=True)
    two, other = start(3, 5, init_from_seed=True)
    assert torch.equal(one, two) and not torch.equal(after, other)
    assert not torch.equal(one, start(4, 0, init_from_seed=True)[0])
    assert not torch.equal(start(3, 0)[0], start(3, 5)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    'name, options, shape',
    [
        ('mobilenetv3_small_050', dict(features_only=True, out_indices=(4,)), (288, 2, 2)),
        ('mobilenetv3_small_050', {}, (1024, 2, 2)),
        ('resnet10t', {}, (512, 2, 2)),
        ('swin_tiny_patch4_window7_224', dict(img_size=64, features_only=True), (768, 2, 2)),
    ],
)
def test_models_of_timm_need_no_mmpretrain(name, options, shape, tmp_path):
    """Nor torchvision; their features are those of timm's own model, its keys those of its files."""
    with without_torchvision():
        timm = pytest.importorskip('timm')
    plain = {} if options else dict(num_classes=0, global_pool='')
    reference = timm.create_model(name, **options, **plain).eval()
    torch.save(reference.state_dict(), tmp_path / 'weights.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    backbone = dict(type=f'timm.{name}', init_cfg=init_cfg, **options)
    module = MODELS.build(dict(type='TimeDistributed', backbone=backbone))
    module.init_weights()

    def map_of(frame):
        out = last(reference(frame))
        return out.permute(0, 3, 1, 2) if name.startswith('swin') else out  # channels at the end

    x = torch.randn(1, 3, 2, 64, 64)
    with torch.no_grad():
        got, want = last(module.eval()(x)), frame_by_frame(map_of, x)
    assert got.shape == (1, shape[0], 2, *shape[1:])
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('way', ['init_cfg', 'list', 'pretrained'])
def test_a_checkpoint_of_which_nothing_fits_is_refused(way, tmp_path):
    """mmengine warns and trains from random weights: a prefix forgotten, or another width."""
    path = str(tmp_path / 'weights.pth')
    inner = MODELS.build(V2)
    state = {f'backbone.{name}': value for name, value in inner.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    init_cfg = dict(type='Pretrained', checkpoint=path)
    options = dict(
        init_cfg=dict(init_cfg=init_cfg),
        list=dict(init_cfg=[init_cfg]),
        pretrained=dict(pretrained=path),
    )[way]
    with pytest.raises(ValueError, match=r'expected weights of a MobileNetV2.*got none, but back'):
        build(V2 | options)
    with pytest.raises(ValueError, match='prefix="backbone."'):
        build(dict(type='MobileNetV2', widen_factor=0.5) | options)
    right = dict(init_cfg=init_cfg | dict(prefix='backbone.'))
    assert torch.equal(build(V2 | right).backbone.conv1.conv.weight, inner.conv1.conv.weight)
    torch.save({name: value.double() for name, value in inner.state_dict().items()}, path)
    build(V2 | options)


def last(features):
    return features[-1] if isinstance(features, (list, tuple)) else features


def test_a_model_that_timm_lacks_is_named():
    with without_torchvision():
        pytest.importorskip('timm')
    with pytest.raises(ValueError, match=r"got 'mobilenetv3_smal_100'; fix: one of mobilenetv3"):
        TimeDistributed(dict(type='timm.mobilenetv3_smal_100'))


def test_the_stand_in_says_what_is_missing():
    if importlib.util.find_spec('torchvision') is not None:
        pytest.skip('torchvision is installed')
    with without_torchvision():
        from torchvision.transforms import Resize
    assert 'torchvision' not in sys.modules
    with pytest.raises(ModuleNotFoundError, match='fix: python -m pip install torchvision torch='):
        Resize(3)
    with pytest.raises(ModuleNotFoundError):
        import torchvision  # noqa: F401
