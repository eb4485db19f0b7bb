"""The folded copy follows the weights, in whichever way they change."""

import copy
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.backbones import backbone_features, build, is_folded, without_copy
from helpers.support import in_a_fork
from mmengine.hooks import EMAHook
from torch import nn
from torch.nn.utils import parametrizations, prune

from cnnlstm_mm.models.acceleration.module_state import ModuleState

CHANGES = {}


class Named(torch.Tensor):
    """A subclass without behaviour of its own."""


def change(function):
    CHANGES[function.__name__] = function
    return function


def conv_of(module):
    """A square pointwise convolution of the backbone, and its ConvModule."""
    parent = module.backbone.layer3.pointwise_conv
    assert parent.conv.weight.shape[:2] == (32, 32)
    return parent.conv, parent


def optimizer_step(kind, **kwargs):
    def step(module):
        for p in module.parameters():
            p.grad = torch.randn_like(p)
        optimizer = kind(module.parameters(), lr=0.1, **kwargs)
        for _ in range(3):
            optimizer.step()

    return step


for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    for way in ('foreach', 'fused'):
        CHANGES[f'{kind.__name__}_{way}'] = optimizer_step(kind, **{way: True})
    CHANGES[f'{kind.__name__}_loop'] = optimizer_step(kind, foreach=False, fused=False)


@change
def data_mul(module):
    conv_of(module)[0].weight.data.mul_(2)


@change
def data_copy_of_the_same_values_in_another_order(module):
    weight = conv_of(module)[0].weight
    weight.data.copy_(weight.data.flip(1))


@change
def data_of_one_norm(module):
    module.backbone.layer3.pointwise_conv.bn.bias.data.add_(1)


@change
def data_replaced(module):
    conv, _ = conv_of(module)
    conv.weight.data = conv.weight.data * 2


@change
def data_transposed_in_the_same_memory(module):
    conv, _ = conv_of(module)
    conv.weight.data = conv.weight.data.transpose(0, 1)


@change
def numpy_write(module):
    conv_of(module)[0].weight.detach().numpy()[:] *= 2


@change
def in_place_under_inference_mode(module):
    with torch.inference_mode():
        conv_of(module)[0].weight.mul_(2)


@change
def mmengine_ema(module):
    hook = EMAHook(momentum=0.5)
    runner = SimpleNamespace(model=module, iter=0, epoch=0)
    hook.before_run(runner)
    for p in module.parameters():
        p.data.mul_(1.1)
    hook.after_train_iter(runner, 0)
    for p in module.parameters():
        p.data.mul_(1.1)
    hook.after_train_iter(runner, 1)
    hook.before_val_epoch(runner)


@change
def mmengine_ema_and_back(module):
    mmengine_ema(module)
    module(torch.randn(1, 3, 2, 32, 32))
    module.ema = EMAHook()
    module.ema.src_model, module.ema.ema_model = (
        module,
        SimpleNamespace(module=copy.deepcopy(module), update_buffers=True),
    )
    for p in module.ema.ema_model.module.parameters():
        p.data.mul_(0.5)
    module.ema.before_val_epoch(None)
    module(torch.randn(1, 3, 2, 32, 32))
    module.ema.after_val_epoch(None)


@change
def load_state_dict(module):
    module.load_state_dict({k: v * 1.5 for k, v in module.state_dict().items()})


@change
def load_state_dict_by_assignment(module):
    module.load_state_dict({k: v * 1.5 for k, v in module.state_dict().items()}, assign=True)


@change
def to_float64(module):
    module.double()
    data_mul(module)


@change
def to_bfloat16(module):
    module.bfloat16()


@change
def swapped_on_conversion(module):
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        module.double()
        data_mul(module)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


@change
def swapped_tensors(module):
    conv, _ = conv_of(module)
    new = nn.Parameter(conv.weight.detach() * 2, conv.weight.requires_grad)
    torch.utils.swap_tensors(conv.weight, new)


@change
def new_parameter(module):
    conv, _ = conv_of(module)
    conv.weight = nn.Parameter(conv.weight.detach() * 2)


@change
def new_bias(module):
    conv, _ = conv_of(module)
    conv.bias = nn.Parameter(torch.ones(32))


@change
def new_submodule(module):
    _, parent = conv_of(module)
    parent.conv = nn.Conv2d(32, 32, 1).eval()


class LowRank(nn.Module):
    """A convolution with a trained addition; as LoRA has it, or merged at each call."""

    def __init__(self, conv, merged):
        super().__init__()
        self.conv, self.merged = conv, merged
        self.a, self.b = (nn.Parameter(torch.randn(32, 32) / 8) for _ in range(2))

    def forward(self, x):
        delta = (self.a @ self.b)[:, :, None, None]
        if self.merged:
            return nn.functional.conv2d(x, self.conv.weight + delta)
        return self.conv(x) + nn.functional.conv2d(x, delta)


@change
def wrapped(module):
    conv, parent = conv_of(module)
    parent.conv = LowRank(conv, False).eval()


@change
def wrapped_and_trained(module):
    wrapped(module)
    module(torch.randn(1, 3, 2, 32, 32))
    module.backbone.layer3.pointwise_conv.conv.a.data.mul_(2)


@change
def wrapped_with_merged_weights(module):
    conv, parent = conv_of(module)
    parent.conv = LowRank(conv, True).eval()


@change
def pruned(module):
    prune.l1_unstructured(conv_of(module)[0], 'weight', 0.5)


@change
def pruned_for_good(module):
    pruned(module)
    module(torch.randn(1, 3, 2, 32, 32))
    prune.remove(conv_of(module)[0], 'weight')


@change
def weight_norm_by_hook(module):
    nn.utils.weight_norm(conv_of(module)[0])
    module(torch.randn(1, 3, 2, 32, 32))
    conv_of(module)[0].weight_g.data.mul_(2)


@change
def weight_norm_by_parametrization(module):
    parametrizations.weight_norm(conv_of(module)[0])
    module(torch.randn(1, 3, 2, 32, 32))
    conv_of(module)[0].parametrizations.weight.original0.data.mul_(2)


@change
def spectral_norm(module):
    parametrizations.spectral_norm(conv_of(module)[0])
    module.backbone.eval()


@change
def norm_statistics_by_training(module):
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.train()
    module.backbone(torch.randn(4, 3, 32, 32))
    module.backbone.eval()


@change
def norm_statistics_by_data(module):
    module.backbone.conv1.bn.running_var.data.mul_(4)


@change
def norm_statistics_of_the_batch(module):
    module.backbone.conv1.bn.train()


@change
def norm_epsilon(module):
    module.backbone.conv1.bn.eps = 1.0


@change
def stride(module):
    conv_of(module)[0].stride = (2, 2)


@change
def patched_forward(module):
    conv, _ = conv_of(module)
    forward = conv.forward
    conv.forward = lambda x: 2 * forward(x)


@change
def layer_left_out(module):
    module.backbone.layer3 = nn.Identity().eval()


@change
def another_backbone(module):
    module.backbone = build().backbone


@change
def copied_backbone(module):
    module.backbone = copy.deepcopy(module.backbone)
    data_mul(module)


@change
def pickled_backbone(module):
    module.backbone = pickle.loads(pickle.dumps(module.backbone))
    data_mul(module)


@change
def foreach(module):
    torch._foreach_mul_(list(module.parameters()), 1.1)


@change
def storage_write(module):
    storage = conv_of(module)[0].weight.untyped_storage()
    torch.tensor([], dtype=torch.float32).set_(storage).mul_(2)


@change
def set_to_other_memory(module):
    weight = conv_of(module)[0].weight
    weight.data.set_(weight.detach() * 2)


@change
def flat_vector(module):
    """Parameters become views of it, and follow what is written there."""
    vector = nn.utils.parameters_to_vector(p.contiguous() for p in module.parameters()).detach()
    nn.utils.vector_to_parameters(vector, module.parameters())
    module(torch.randn(1, 3, 2, 32, 32))
    vector.mul_(1.1)


@change
def written_by_another_process(module):
    module.share_memory()
    module(torch.randn(1, 3, 2, 32, 32))
    process = os.fork()
    if not process:
        data_mul(module)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0


@change
def subclass_of_tensor(module):
    conv, _ = conv_of(module)
    weight = (conv.weight.detach() * 2).as_subclass(Named)
    conv.weight = nn.Parameter(weight, conv.weight.requires_grad)


@change
def new_statistics(module):
    module.backbone.conv1.bn.running_mean = torch.ones(8)


@change
def statistics_by_cumulative_average(module):
    module.backbone.conv1.bn.momentum = None
    norm_statistics_by_training(module)


@change
def averaged_model(module):
    averaged = torch.optim.swa_utils.AveragedModel(module)
    data_mul(module)
    averaged.update_parameters(module)
    module.load_state_dict(averaged.module.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('name', CHANGES)
def test_features_are_those_of_the_weights_now(name, frozen):
    module = build(frozen=frozen)
    x = torch.randn(2, 3, 2, 32, 32)
    with torch.no_grad():
        before = module(x)
        assert is_folded(module)
        torch.testing.assert_close(before, backbone_features(module, x), rtol=1e-4, atol=1e-5)
        CHANGES[name](module)
        x = x.to(next(module.parameters()).dtype)
        want = backbone_features(module, x)
        for _ in range(2):
            narrow = dict(rtol=0, atol=0.05 * want.abs().max().item())
            exact = dict(rtol=1e-4, atol=1e-5 * want.abs().max().item())
            torch.testing.assert_close(
                module(x), want, **narrow if x.dtype == torch.bfloat16 else exact
            )
        assert want.shape != before.shape or not torch.equal(want.to(before.dtype), before)


class Holder(nn.Module):
    """Computes with something that is not registered."""

    def __init__(self, held, factor):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.held, self.factor = held, factor

    def forward(self, x):
        return self.bn(self.conv(x)) * self.factor(self.held)


def linear():
    return nn.Conv2d(4, 4, 1).requires_grad_(False)


# (what is held, the factor that it gives, the change, whether a copy can follow)
HELD = {
    'list': (['a'], len, lambda held: held.append('b'), True),
    'empty list': ([], lambda held: 1 + len(held), lambda held: held.append('b'), True),
    'set': ({'a'}, len, lambda held: held.add('b'), True),
    'nested': (dict(a=[[1]]), lambda h: h['a'][0][0], lambda h: h['a'][0].append(h['a'][0].pop() + 2),
        True),
    'in a tuple': (([1],), lambda held: len(held[0]), lambda held: held[0].append(2), True),
    'tensor in a list': ([torch.ones(1)], lambda h: h[0], lambda h: h[0].data.mul_(3), False),
    'tensor in a tuple': ((torch.ones(1),), lambda h: h[0], lambda h: h[0].data.mul_(3), False),
    'array': (np.ones((), np.float32), torch.from_numpy, lambda h: np.multiply(h, 3, out=h), False),
    'arrays': ([np.ones((), np.float32)], lambda h: torch.from_numpy(h[0]),
        lambda h: np.multiply(h[0], 3, out=h[0]), False),
    'module in a list': ([linear()], lambda h: h[0].weight[0, 0],
        lambda h: h[0].weight.data.mul_(3), False),
}  # fmt: skip


@pytest.mark.parametrize('name', HELD)
def test_what_is_not_registered(name):
    held, factor, change, folds = HELD[name]
    module = build(Holder(copy.deepcopy(held), factor), frozen=True)
    x = torch.randn(1, 3, 2, 8, 8)
    before = module(x)
    change(module.backbone.held)
    want = backbone_features(module, x)
    assert not torch.allclose(want, before)
    torch.testing.assert_close(module(x), want, rtol=1e-4, atol=1e-5)
    assert is_folded(module) == folds


def test_module_that_is_an_attribute_alone():
    module = build(Holder(None, lambda held: held.weight[0, 0]), frozen=True)
    vars(module.backbone)['held'] = linear()
    x = torch.randn(1, 3, 2, 8, 8)
    module(x)
    module.backbone.held.weight.data.mul_(3)
    torch.testing.assert_close(module(x), backbone_features(module, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('fused', [False, True])
def test_validation_between_epochs(fused):
    """Trained weights, with batch norms that keep their statistics."""
    module = build(dict(type='MobileNetV1', widen_factor=0.25, out_indices=(2,), norm_eval=True))
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, fused=fused)
    x = torch.randn(2, 3, 2, 32, 32)
    for _ in range(3):
        module.train()
        for _ in range(3):
            optimizer.zero_grad()
            module(x).square().mean().backward()
            optimizer.step()
        module.eval()
        with torch.no_grad():
            got = module(x)
        assert is_folded(module)
        torch.testing.assert_close(got, backbone_features(module, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('parameters', [False, True])
def test_functional_call(parameters):
    module, other = build(), build()
    x = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        module(x)
        weights = dict(other.named_parameters(), **dict(other.named_buffers()))
        if not parameters:
            weights = {k: v.detach() for k, v in weights.items()}
        got = torch.func.functional_call(module, weights, x)
        torch.testing.assert_close(got, backbone_features(other, x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module(x), backbone_features(module, x), rtol=1e-4, atol=1e-5)


def test_stacked_module_state():
    """As an ensemble under vmap."""
    modules = [build() for _ in range(2)]
    modules[1].backbone.conv1.conv.weight.data.mul_(2)
    x = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        modules[0](x)
        state = torch.func.stack_module_state(modules)
        got = torch.func.vmap(lambda *state: torch.func.functional_call(modules[0], state, (x,)))(
            *state
        )
        for one, module in zip(got, modules):
            torch.testing.assert_close(one, backbone_features(module, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('kind', ['fsdp', 'fsdp_original_parameters', 'fully_shard'])
def test_sharded_weights(kind, tmp_path):
    """In a fork: a mesh keeps its process group, which later forks would free and wait for."""
    in_a_fork(check_sharded_weights, kind, tmp_path)


def check_sharded_weights(kind, tmp_path):
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        module = build(channels_last=kind != 'fully_shard')  # which refuses such weights
        other = without_copy(module)
        x = torch.randn(1, 3, 2, 32, 32)
        with torch.no_grad():
            module(x)
            if kind == 'fully_shard':
                mesh = torch.distributed.device_mesh.init_device_mesh('cpu', (1,))
                sharded = fully_shard(module, mesh=mesh)
            else:
                sharded = FullyShardedDataParallel(
                    module, use_orig_params=kind != 'fsdp', device_id=torch.device('cpu')
                )
            for factor in (1, 1.1, 0.9):
                for p in (*sharded.parameters(), *other.parameters()):
                    p.data.mul_(factor)
                torch.testing.assert_close(sharded(x), other(x), rtol=1e-4, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()


def test_state_sees_every_attribute():
    """Wherever one is added, taken away or replaced."""
    module = build()
    state = ModuleState(module.backbone)
    for m in module.backbone.modules():
        for attributes in (vars(m), *(v for v in vars(m).values() if isinstance(v, dict))):
            attributes['new'] = None
            assert not state.is_current()
            del attributes['new']
            if attributes:
                name, value = attributes.popitem()
                assert not state.is_current()
                attributes[name] = object()
                assert not state.is_current()
                attributes[name] = value
            assert state.is_current()


@pytest.mark.parametrize('flip', [1, 1 << 22, -1 << 31])
def test_state_sees_every_bit(flip):
    module = build()
    state = ModuleState(module.backbone)
    assert state.is_current()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dtype == torch.float32:
            bits = tensor.detach().view(torch.int32)
            bits[(-1,) * bits.dim()] ^= flip
            assert not state.is_current()
            bits[(-1,) * bits.dim()] ^= flip
            assert state.is_current()


def test_state_on_other_devices():
    """The comparison that needs no addresses gives the same answers."""
    module = build()
    state = ModuleState(module.backbone)
    state._addresses = None
    assert state.is_current()
    module.backbone.conv1.conv.weight.data.mul_(-1)
    assert not state.is_current()
