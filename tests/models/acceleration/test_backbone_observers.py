"""Whatever looks into a backbone sees what it sees in one without a folded copy."""

import contextlib
import copy

import pytest
import torch
from helpers.backbones import build, is_folded, without_copy
from torch import nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.modules import module as torch_module
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

OBSERVERS = {}


def observer(function):
    OBSERVERS[function.__name__] = function
    return function


def conv(module):
    return module.backbone.layer2.pointwise_conv.conv


def hooked(register):
    """Features, and the calls that a hook saw; hooks leave no trace when removed."""

    def run(module, x):
        seen = []
        handle = register(module, seen)
        first = module(x)
        handle.remove()
        return (first, module(x)), seen

    return run


def summary(*tensors):
    return [(tuple(t.shape), round(t.double().norm().item(), 2)) for t in tensors]


def hook(change=1, **kwargs):
    def seeing(m, inputs, *rest):
        output = rest[-1]
        m.seen.append(summary(inputs[0], output))
        return None if change == 1 else output * change

    def register(module, seen):
        conv(module).seen = seen
        return conv(module).register_forward_hook(seeing, **kwargs)

    return register


def pre_hook(module, seen):
    def halve(m, inputs):
        seen.append(summary(*inputs))
        return inputs[0] / 2

    return conv(module).register_forward_pre_hook(halve)


def backward_hook(kind):
    def register(module, seen):
        return getattr(conv(module), f'register_full_backward_{kind}')(
            lambda m, *grads: seen.append(len(grads))
        )

    return register


def kwargs_pre_hook(module, seen):
    def halve(m, inputs, kwargs):
        seen.append((summary(*inputs), list(kwargs)))
        return (inputs[0] / 2,), kwargs

    return conv(module).register_forward_pre_hook(halve, with_kwargs=True)


def global_hook(kind, **kwargs):
    def register(module, seen):
        return getattr(torch_module, f'register_module_{kind}')(
            lambda m, *args: seen.append(type(m).__name__), **kwargs
        )

    return register


def bare_root_hook(module, seen):
    return module.backbone.register_forward_hook(lambda m, x, y: seen.append(len(x)) or y * 0)


OBSERVERS.update(
    forward_hook=hooked(hook()),
    forward_hook_that_changes=hooked(hook(change=0)),
    forward_hook_with_kwargs=hooked(hook(with_kwargs=True)),
    forward_hook_always_called=hooked(hook(always_call=True)),
    forward_pre_hook=hooked(pre_hook),
    hook_of_the_backbone=hooked(bare_root_hook),
    full_backward_hook=hooked(backward_hook('hook')),
    full_backward_pre_hook=hooked(backward_hook('pre_hook')),
    global_forward_hook=hooked(global_hook('forward_hook')),
    global_forward_pre_hook=hooked(global_hook('forward_pre_hook')),
    global_full_backward_hook=hooked(global_hook('full_backward_hook')),
    global_full_backward_pre_hook=hooked(global_hook('full_backward_pre_hook')),
    global_forward_hook_always_called=hooked(global_hook('forward_hook', always_call=True)),
    global_forward_hook_with_kwargs=hooked(global_hook('forward_hook', with_kwargs=True)),
    forward_pre_hook_with_kwargs=hooked(kwargs_pre_hook),
    forward_hook_prepended=hooked(hook(prepend=True)),
)


@observer
def gradients_with_backward_hooks(module, x):
    seen = []
    handle = backward_hook('hook')(module, seen)
    with torch.enable_grad():
        loss = module(x.requires_grad_()).square().sum()
        if loss.requires_grad:
            loss.backward()
    handle.remove()
    return (loss, x.grad), seen


@observer
def profiler(module, x):
    with torch.profiler.profile() as profile, torch.profiler.record_function('ours'):
        out = module(x)
    return out, [e.name for e in profile.events() if e.name in ('ours', 'aten::unflatten')]


def checkpointed(reentrant):
    def run(module, x):
        with torch.enable_grad():
            x.requires_grad_()
            out = checkpoint(lambda x: module(x) + 0 * x.sum(), x, use_reentrant=reentrant)
            out.square().sum().backward()
        return (out, x.grad), None

    return run


OBSERVERS.update(
    checkpoint_reentrant=checkpointed(True), checkpoint_non_reentrant=checkpointed(False)
)


@observer
def save_on_cpu(module, x):
    with torch.enable_grad(), torch.autograd.graph.save_on_cpu():
        out = module(x.requires_grad_()) + 0 * x.sum()
        out.square().sum().backward()
    return (out, x.grad), None


@observer
def saved_tensors_hooks(module, x):
    shapes = []
    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(
            lambda t: shapes.append(tuple(t.shape)) or t, lambda t: t
        ),
    ):
        out = module(x.requires_grad_())
    return out, shapes


@observer
def vmap(module, x):
    return torch.func.vmap(module)(torch.stack([x, 2 * x])), None


@observer
def func_grad(module, x):
    return torch.func.grad(lambda x: module(x).square().sum())(x), None


@observer
def func_jvp(module, x):
    return torch.func.jvp(module, (x,), (torch.ones_like(x),)), None


@observer
def dual_numbers(module, x):
    with forward_ad.dual_level():
        out = module(forward_ad.make_dual(x, torch.ones_like(x)))
        return tuple(forward_ad.unpack_dual(out)), None


@observer
def compiled(module, x):
    return torch.compile(module, backend='eager')(x), None


@observer
def compiled_backbone(module, x):
    graphs = []

    def backend(graph, inputs):
        graphs.append(len(graph.graph.nodes))
        return graph

    module.backbone.compile(backend=backend)
    out = module(x)
    module.backbone._compiled_call_impl = None
    return out, len(graphs) > 0


@observer
def exported(module, x):
    program = torch.export.export(module, (x,)).module()
    return program(2 * x), None


@observer
def traced(module, x):
    return torch.jit.trace(module, x)(2 * x), None


@observer
def traced_by_make_fx(module, x):
    graph = make_fx(module)(x)
    return graph(2 * x), [str(n.target) for n in graph.graph.nodes if 'conv' in str(n.target)]


@observer
def symbolically_traced_backbone(module, x):
    """Its graph, whose nodes are the blocks, takes the place of the backbone."""

    class Blocks(torch.fx.Tracer):
        def is_leaf_module(self, *args):
            return True

    backbone = module.backbone
    module.backbone = torch.fx.GraphModule(backbone, Blocks().trace(backbone)).eval()
    out = module(x)
    module.backbone = backbone
    return out, None


@observer
def layer_activations_and_their_gradients(module, x):
    """As attribution methods take them: outputs of a layer, kept by a hook."""
    kept = []
    handle = conv(module).register_forward_hook(lambda m, x, y: kept.append(y))
    with torch.enable_grad():
        out = module(x.requires_grad_())
        grads = kept[0].new_zeros(kept[0].shape)
        if out.requires_grad:
            (grads,) = torch.autograd.grad(out.square().sum(), kept)
    handle.remove()
    return (out, kept[0], grads), None


@observer
def dispatch_mode(module, x):
    names = []

    class Names(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            names.append(str(func))
            return func(*args, **(kwargs or {}))

    with Names():
        return module(x), names


@observer
def function_mode(module, x):
    names = []

    class Names(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(getattr(func, '__name__', ''))
            return func(*args, **(kwargs or {}))

    with Names():
        out = module(x)
    return out, [name for name in names if name in ('conv2d', 'batch_norm')]


@observer
def flops(module, x):
    with FlopCounterMode(display=False) as counter:
        out = module(x)
    return out, counter.get_total_flops()


@observer
def fake_tensors(module, x):
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        out = module(mode.from_tensor(x))
    return torch.zeros(out.shape), (type(out).__name__, out.dtype)


@observer
def meta_tensors(module, x):
    out = copy.deepcopy(module).to('meta')(x.to('meta'))
    return torch.zeros(out.shape), out.device


@observer
def moved_to_meta(module, x):
    weights = module.state_dict()
    module.to('meta')
    out = module(x.to('meta'))
    module.load_state_dict(weights, assign=True)
    return (torch.zeros(out.shape), module(x)), None


@observer
def tensor_subclass(module, x):
    names = []

    class Named(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            names.append(getattr(func, '__name__', ''))
            return super().__torch_function__(func, types, args, kwargs)

    out = module(x.as_subclass(Named))
    called = [name for name in names if name in ('conv2d', 'batch_norm')]
    return out.as_subclass(torch.Tensor), (type(out).__name__, called)


@observer
def anomaly_detection(module, x):
    with torch.autograd.detect_anomaly(check_nan=True):
        return module(x), None


def under(**kwargs):
    def run(module, x):
        with torch.autocast('cpu', **kwargs):
            out = module(x)
        return (out, module(x)), (out.dtype, module(x).dtype)

    return run


OBSERVERS.update(
    autocast_bfloat16=under(dtype=torch.bfloat16), autocast_float16=under(dtype=torch.float16)
)


@observer
def inference_mode(module, x):
    with torch.inference_mode():
        out = module(x)
    return (out.clone(), module(x)), out.is_inference()


@observer
def onednn_off(module, x):
    with torch.backends.mkldnn.flags(enabled=False), torch.profiler.profile() as profile:
        out = module(x)
    return out, [e.name for e in profile.events() if 'mkldnn' in e.name]


@observer
def default_device(module, x):
    with torch.device('cpu'):
        return module(x), None


@pytest.mark.slow
@pytest.mark.parametrize('frozen', [False, True])
@pytest.mark.parametrize('name', OBSERVERS)
def test_seen_as_without_a_copy(name, frozen):
    module = build(frozen=frozen)
    other = without_copy(module)
    x = torch.randn(2, 3, 2, 32, 32)
    grad = contextlib.nullcontext() if name in ('func_grad', 'func_jvp') else torch.no_grad()
    with grad:
        with torch.no_grad():
            module(x)
        assert is_folded(module)
        wanted, effect = OBSERVERS[name](other, x.clone())
        got, found = OBSERVERS[name](module, x.clone())
    assert found == effect
    wanted, got = ((r,) if isinstance(r, torch.Tensor) else r for r in (wanted, got))
    for want, have in zip(wanted, got, strict=True):
        if want is None:
            assert have is None
            continue
        assert have.dtype == want.dtype
        assert have.requires_grad == want.requires_grad
        scale = want.abs().max().item()
        narrow = want.dtype in (torch.bfloat16, torch.float16)
        torch.testing.assert_close(
            have, want, rtol=1e-4, atol=(3e-2 if narrow else 1e-5) * max(scale, 1)
        )
    with torch.no_grad():
        torch.testing.assert_close(module(x), other(x), rtol=1e-4, atol=1e-5)
        assert is_folded(module)  # again


def test_hooks_do_not_cost_the_copy():
    """After a hook is removed, the copy that was there before runs on."""
    module = build()
    x = torch.randn(1, 3, 2, 32, 32)
    with torch.no_grad():
        module(x)
        made = module._folded._copy
        handle = conv(module).register_forward_hook(lambda *args: None)
        module(x)
        handle.remove()
        module(x)
    assert module._folded._copy is made


def test_frozen_backbone_sees_a_later_autocast():
    """Made under autocast or without, a copy computes in the dtype of now."""
    module = build(frozen=True)
    x = torch.randn(1, 3, 2, 32, 32)
    exact = without_copy(module)(x)
    for enabled in (True, False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
            got = module(x)
        error = (got.float() - exact).norm() / exact.norm()
        assert got.dtype == (torch.bfloat16 if enabled else torch.float32)
        assert 1e-4 < error < 5e-2 if enabled else error < 1e-5


class Remembering(nn.Module):
    """Keeps something of each call."""

    def __init__(self, keep):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.register_buffer('calls', torch.zeros(()))
        self.keep = keep

    def forward(self, x):
        x = self.bn(self.conv(x))
        if self.keep == 'attribute':
            self.features = x
        else:
            self.calls += 1
        return x


@pytest.mark.parametrize('keep', ['attribute', 'buffer'])
def test_a_backbone_that_keeps_something_of_each_call(keep):
    module = build(Remembering(keep), frozen=True)
    for n in range(1, 4):
        x = torch.randn(1, 3, n, 8, 8)
        out = module(x)
        assert not is_folded(module)
        if keep == 'attribute':
            assert torch.equal(module.backbone.features, out[0].transpose(0, 1))
        else:
            assert module.backbone.calls == n
