"""Folded copies: what they compute, and what runs where there can be none."""

import copy
import pickle
import threading
import types

import pytest
import torch
from helpers.backbones import V1, V2, backbone_features, build, is_folded, without_copy
from helpers.mmpretrain_import import import_mmpretrain
from torch import nn
from torch.nn.utils import parametrizations, prune

from cnnlstm_mm.layers.dispatch import can_prepack
from cnnlstm_mm.models.acceleration import folded_copy, packed_conv
from cnnlstm_mm.models.acceleration.folded_copy import FoldedCopy
from cnnlstm_mm.models.acceleration.packed_conv import SIZES, PackedConv

packs = pytest.mark.skipif(not can_prepack(torch.zeros(1)), reason='needs oneDNN')


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(folded_copy, 'print_log', lambda line, logger: lines.append(line))
    return lines


def made(module):
    return module._folded._copy.module


def count(module, kind):
    return sum(type(m) is kind for m in module.modules())


BACKBONES = {
    'v1': dict(V1, out_indices=(12,)),
    'v2': V2,
    'stages': dict(V2, out_indices=(3, 7)),
    'resnet18': dict(type='ResNet', depth=18, norm_eval=False),
    'bottleneck': dict(type='ResNet', depth=50, out_indices=(1,)),
    'shifted': dict(V2, type='MobileNetV2TSM', num_segments=2, pretrained2d=False),
    'swish': dict(V1, act_cfg=dict(type='Swish')),
    'group_norm': dict(V1, norm_cfg=dict(type='GN', num_groups=2)),
    'mmpretrain_resnet': dict(type='mmpretrain.ResNet', depth=18),
    'mmpretrain_vgg': dict(type='mmpretrain.VGG', depth=11, norm_cfg=dict(type='BN')),
    'mmpretrain_shufflenet': dict(type='mmpretrain.ShuffleNetV2', widen_factor=0.5),
    'mmpretrain_densenet': dict(type='mmpretrain.DenseNet', arch='121', out_indices=(0,)),
    'mmpretrain_repvgg': dict(type='mmpretrain.RepVGG', arch='A0', out_indices=(1,)),
    'mmpretrain_mobilenet_v3': dict(type='mmpretrain.MobileNetV3', arch='small'),
    'mmpretrain_vit': dict(
        type='mmpretrain.VisionTransformer', arch='deit-tiny', img_size=64, out_type='featmap'
    ),
    'mmpretrain_timm': dict(
        type='mmpretrain.TIMMBackbone',
        model_name='efficientnet_b0',
        features_only=True,
        out_indices=(1,),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('name', BACKBONES)
def test_features_of_the_backbone(name, frozen, log):
    if 'mmpretrain' in name:
        import_mmpretrain()
    module = build(BACKBONES[name], frozen=frozen)
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.bias, -2, 8)  # past ReLU6's 6
    x = torch.randn(2, 3, 2, 64, 64)
    with torch.no_grad():
        want, got = without_copy(module)(x), module(x)
    assert is_folded(module) and not log
    if 'densenet' not in name and 'repvgg' not in name:  # batch norm without a convolution
        assert count(made(module), nn.BatchNorm2d) == 0
    if can_prepack(torch.zeros(1)):
        assert count(made(module), PackedConv) >= count(module, nn.Conv2d) - 1
    want, got = ((y,) if isinstance(y, torch.Tensor) else y for y in (want, got))
    for one, other in zip(want, got, strict=True):
        scale = one.abs().max().item()
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * scale)


@packs
def test_activations_are_fused():
    v2, resnet = build(V2), build(BACKBONES['resnet18'])
    with torch.no_grad():
        v2(torch.randn(1, 3, 1, 32, 32)), resnet(torch.randn(1, 3, 1, 32, 32))
    kinds = [m.fused[0] for m in made(v2).modules() if isinstance(m, PackedConv)]
    assert kinds.count('hardtanh') == 35 and len(kinds) == 52
    # One before each addition has none, and that behind the addition stays.
    kinds = [m.fused[0] for m in made(resnet).modules() if isinstance(m, PackedConv)]
    assert kinds.count('relu') == 9 and count(made(resnet), nn.ReLU) == 8


def test_it_is_in_no_copy_of_the_module():
    module = build(frozen=True)
    x = torch.randn(1, 3, 2, 32, 32)
    size, names = len(pickle.dumps(module)), list(module.state_dict())
    want = module(x)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(twin(x), want)
    assert len(pickle.dumps(module)) < 1.1 * size
    assert list(module.state_dict()) == names


def test_folding_draws_no_random_numbers():
    module = build(frozen=True)
    x, state = torch.randn(1, 3, 2, 32, 32), torch.get_rng_state()
    module(x)
    assert is_folded(module) and torch.equal(torch.get_rng_state(), state)


class NormFirst(nn.Module):
    """A batch norm in front of the convolution that is listed before it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(x).relu())


class Skip(NormFirst):
    """What the convolution gives is normalized, and used as it is."""

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


class InPlace(NormFirst):
    """The convolution's output is changed before it is normalized."""

    def forward(self, x):
        return self.norm(self.conv(x).relu_())


class Twice(NormFirst):
    """One convolution, normalized once and then not."""

    def forward(self, x):
        return self.conv(self.norm(self.conv(x)))


class Dropout(NormFirst):
    """Forgets that it is evaluated."""

    def forward(self, x):
        return nn.functional.dropout(self.norm(self.conv(x)), training=True)


class BatchStatistics(Skip):
    """Adapts to each batch."""

    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self


class Locked(NormFirst):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        return self.norm(self.conv(x))


def changed(change, backbone=V1):
    module = build(backbone).backbone
    conv = module.layer3.pointwise_conv.conv
    change(conv)
    return module.eval()


def doubled(module):
    """Give an instance a forward of its own, which copies take along."""
    module.forward = types.MethodType(lambda self, x: 2 * type(self).forward(self, x), module)


def padded(padding, mode='zeros'):
    """A convolution that oneDNN does not take as it is."""
    conv = nn.Conv2d(3, 4, 3, padding=padding, padding_mode=mode)
    return nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU()).eval()


def without_statistics():
    """The norm takes those of the batch in evaluation, too."""
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm, nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)).eval()


def twice_behind_it(*modules):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *modules).eval()


def changed_block():
    module = build().backbone
    doubled(module.layer3.pointwise_conv)
    return module.eval()


def built_under_inference_mode():
    with torch.inference_mode():
        return build().backbone


def of_large_weights(conv):
    conv.weight.data.fill_(torch.inf)


# (backbone, whether something is folded, what the log names)
UNUSUAL = {
    'norm_first': (NormFirst, True, None),
    'skip': (Skip, False, 'features change'),
    'in_place': (InPlace, True, None),
    'twice': (Twice, False, None),
    'dropout': (Dropout, False, 'features change'),
    'locked': (Locked, False, "cannot pickle '_thread.lock'"),
    'norm_alone': (lambda: nn.Sequential(nn.BatchNorm2d(3)).eval(), False, None),
    'inference_mode': (built_under_inference_mode, True, None),
    'pruned': (
        lambda: changed(lambda c: prune.l1_unstructured(c, 'weight', 0.5)),
        False,
        'Conv2d layer3.pointwise_conv.conv has hooks',
    ),
    'weight_norm': (lambda: changed(nn.utils.weight_norm), False, 'has hooks'),
    'parametrized': (lambda: changed(parametrizations.weight_norm), True, None),
    'spectral': (lambda: changed(parametrizations.spectral_norm), True, None),
    'own_forward': (lambda: changed(doubled), True, None),
    'own_forward_of_a_block': (changed_block, True, None),
    'padded_by_reflection': (lambda: padded(1, 'reflect'), True, None),
    'padding_by_name': (lambda: padded('same'), True, None),
    'two_norms': (lambda: twice_behind_it(nn.BatchNorm2d(4), nn.BatchNorm2d(4)), True, None),
    'two_activations': (lambda: twice_behind_it(nn.ReLU(), nn.ReLU6()), True, None),
    'no_statistics': (without_statistics, True, None),
    'training': (BatchStatistics, False, 'BatchNorm2d norm is in training mode'),
    'infinite': (lambda: changed(of_large_weights), False, 'features change'),
    'half': (lambda: changed(lambda c: c.half()), False, 'RuntimeError'),
}


@pytest.mark.parametrize('name', UNUSUAL)
def test_unusual_backbones(name, log):
    make, folds, cause = UNUSUAL[name]
    module = build(make(), frozen=True)
    other = copy.copy(module)  # the same backbone
    other._folded = lambda backbone, frames, clip_len: backbone(frames)
    x = torch.randn(1, 3, 2, 32, 32)

    def run(module):
        torch.manual_seed(1)
        try:
            return module(x)
        except RuntimeError as error:
            return str(error)

    want = run(other)
    for _ in range(3):
        got = run(module)
        if isinstance(want, str):
            assert got == want
        else:
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert is_folded(module) == folds
    assert len(log) == (cause is not None), log
    assert all(cause in line and type(module.backbone).__name__ in line for line in log)


def test_a_failure_to_pack_is_logged_once(log, monkeypatch):
    def fail(self, *args):
        raise MemoryError('no room')

    monkeypatch.setattr(packed_conv, 'can_prepack', lambda weight: True)
    monkeypatch.setattr(PackedConv, '_pack', fail)
    module = build(frozen=True)
    x = torch.randn(1, 3, 2, 32, 32)
    for _ in range(3):
        torch.testing.assert_close(module(x), backbone_features(module, x))
        module.backbone.conv1.conv.weight.data.mul_(1.1)
    assert log == ['MobileNetV1 runs without folded batch norm: MemoryError: no room']


@packs
def test_a_packed_convolution_that_is_wrong_is_not_used(log, monkeypatch):
    forward = PackedConv.forward
    monkeypatch.setattr(PackedConv, 'forward', lambda self, x: 2 * forward(self, x))
    module = build(frozen=True)
    x = torch.randn(1, 3, 2, 32, 32)
    torch.testing.assert_close(module(x), backbone_features(module, x))
    assert not is_folded(module) and 'features change' in log[0]


def test_without_onednn_it_is_folded_alone(monkeypatch):
    monkeypatch.setattr(packed_conv, 'can_prepack', lambda weight: False)
    module = build(frozen=True)
    x = torch.randn(1, 3, 2, 32, 32)
    torch.testing.assert_close(module(x), backbone_features(module, x), rtol=1e-4, atol=1e-5)
    assert count(made(module), PackedConv) == count(made(module), nn.BatchNorm2d) == 0


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_frames_that_are_not_finite(value, log):
    """The features are as NaN as the backbone's, and the next clip is fast again."""
    module = build(frozen=True)
    bad = torch.randn(1, 3, 2, 32, 32)
    good = bad.clone()
    bad[0, 1, 1, 5, 5] = value
    for x, folded in ((bad, False), (good, True), (bad, True), (good, True)):
        want = backbone_features(module, x)
        assert want.isnan().any() == (x is bad and value != value)  # ReLU6 makes 6 of infinity
        torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5, equal_nan=True)
        assert is_folded(module) == folded
    assert not log


def test_frames_that_are_too_small_do_not_matter_later(log):
    module = build(nn.Sequential(nn.Conv2d(3, 4, 5), nn.BatchNorm2d(4)), frozen=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match='Kernel size'):
            module(torch.randn(1, 3, 2, 3, 3))
    assert len(log) == 1
    x = torch.randn(1, 3, 2, 8, 8)
    torch.testing.assert_close(module(x), backbone_features(module, x), rtol=1e-4, atol=1e-5)
    assert is_folded(module)


def test_no_frames():
    module = build()
    for x in (torch.randn(0, 3, 2, 32, 32), torch.randn(0, 3, 2, 32, 32, requires_grad=True)):
        out = module(x)
        assert out.shape == (0, 32, 2, 8, 8)
    module.train()
    module(x).sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_two_backbones_in_two_threads():
    """As the replicas of nn.DataParallel, which share what is no module."""
    shared, modules = FoldedCopy(), [build(frozen=True) for _ in range(2)]
    for module in modules:
        module._folded = shared
    x = torch.randn(1, 3, 2, 32, 32)
    wanted = [backbone_features(module, x) for module in modules]
    barrier, errors = threading.Barrier(2), []

    def run(module, want):
        for _ in range(40):
            barrier.wait()
            errors.append((module(x) - want).abs().max().item())

    threads = [threading.Thread(target=run, args=pair) for pair in zip(modules, wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 80 and max(errors) < 1e-5


@pytest.mark.parametrize('there', [False, True])
@pytest.mark.parametrize('packed', [pytest.param(True, marks=packs), False])
def test_bf16(there, packed, log, monkeypatch):
    monkeypatch.setattr(folded_copy, 'has_bfloat16', lambda device: there)
    if not packed:
        monkeypatch.setattr(packed_conv, 'can_prepack', lambda weight: False)
    elif there and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip('needs bfloat16 in oneDNN')
    module = build(V2, frozen=True, bf16=True)
    x = torch.randn(2, 3, 3, 64, 64)
    want, got = backbone_features(module, x), module(x)
    assert got.dtype == torch.float32
    error = (got - want).norm() / want.norm()
    assert 1e-4 < error < 2e-2 if there else error < 1e-5
    assert (got.bfloat16() == got).all() == there
    convs = [m for m in made(module).modules() if isinstance(m, (nn.Conv2d, PackedConv))]
    weights = {m.dtype if isinstance(m, PackedConv) else m.weight.dtype for m in convs}
    assert weights == {torch.bfloat16 if there else torch.float32}
    assert all(p.dtype == torch.float32 for p in module.parameters())
    # The same where the original runs.
    handle = module.backbone.conv1.register_forward_hook(lambda m, x, y: None)
    hooked = module(x)
    handle.remove()
    assert hooked.dtype == torch.float32 and (hooked.bfloat16() == hooked).all() == there
    assert len([line for line in log if 'bfloat16 instructions' in line]) == (not there)


def test_immutable_looks_for_hooks_alone():
    module = build(frozen=True)
    module._folded = FoldedCopy(immutable=True)
    x = torch.randn(1, 3, 2, 32, 32)
    want = module(x)
    conv = module.backbone.conv1.conv
    conv.weight.data.mul_(2)
    assert torch.equal(module(x), want)
    for register in (conv.register_forward_hook, conv.register_forward_pre_hook):
        handle = register(lambda m, x, *y: 0 * (y or x)[0])
        assert torch.equal(module(x), backbone_features(module, x))
        handle.remove()
        assert torch.equal(module(x), want)
    assert copy.deepcopy(module)._folded.immutable


@packs
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    'kwargs', [dict(), dict(groups=8), dict(stride=2, padding=1), dict(dilation=2, bias=False)]
)
def test_packed_conv(kwargs, dtype):
    """All sizes give what the convolution gives, in a fixed number of layouts."""
    conv = nn.Conv2d(8, 16, 3, **kwargs).to(dtype).requires_grad_(False)
    if not can_prepack(conv.weight):
        pytest.skip('needs bfloat16 in oneDNN')
    packed = PackedConv(conv, (9, 9), nn.ReLU6())
    for turn in range(2):
        for width in range(8, 32):
            x = torch.randn(2, 8, 9, width).to(dtype)
            want = nn.functional.relu6(conv(x))
            torch.testing.assert_close(packed(x), want)
    assert len(packed.packed) == SIZES
    layout = packed.packed[(9, 31)].to_dense().reshape(conv.weight.shape)
    assert torch.equal(layout, conv.weight)


@packs
def test_frames_of_24_widths_take_no_more_memory():
    module = build(frozen=True)
    module._folded = FoldedCopy(immutable=True)
    x = torch.randn(1, 3, 1, 32, 32)
    module(x)
    first = made(module)
    for width in range(32, 80, 2):
        x = torch.randn(1, 3, 1, 32, width)
        torch.testing.assert_close(module(x), backbone_features(module, x), rtol=1e-4, atol=1e-5)
    assert made(module) is first
    layouts = [len(m.packed) for m in first.modules() if isinstance(m, PackedConv)]
    assert max(layouts) <= SIZES
