"""All that looks into a module or takes it apart, around ConvLSTM: the numbers stay the same."""

import contextlib
import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from cnnlstm_mm.layers import ConvLSTM

OPTIONS = {
    'full': dict(peephole=True),
    'layers': dict(num_layers=2, bidirectional=True),
    'norm': dict(norm=True),
    'depthwise': dict(gate_conv='depthwise'),
    'pooled': dict(gate_conv='pooled', recurrent_activation='hard_sigmoid'),
}


def by_backward(layer, x, call=None):
    """The output and all gradients of its square."""
    x = x.clone().requires_grad_()
    output = (layer if call is None else call)(x)
    output = output[0] if isinstance(output, tuple) else output
    output.square().sum().backward()
    return output, x.grad, *(p.grad for p in layer.parameters())


def inside(*contexts):
    """Forward and backward within contexts."""

    def look(layer, x):
        with contextlib.ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context())
            return by_backward(layer, x)

    return look


def checkpointed(reentrant):
    return lambda layer, x: by_backward(
        layer, x, lambda x: checkpoint(lambda x: layer(x)[0], x, use_reentrant=reentrant)
    )


def hooks(layer, x):
    calls = []
    handles = [
        layer.register_forward_pre_hook(lambda *_: calls.append('pre')),
        layer.register_forward_hook(lambda *_: calls.append('forward')),
        layer.register_full_backward_pre_hook(lambda *_: calls.append('backward pre')),
        layer.register_full_backward_hook(lambda *_: calls.append('backward')),
        nn.modules.module.register_module_forward_hook(lambda *_: calls.append('global')),
        layer.weight_hh_l0.register_hook(lambda g: calls.append('tensor')),
        layer.weight_hh_l0.register_post_accumulate_grad_hook(lambda p: calls.append('grad')),
    ]
    try:
        results = by_backward(layer, x)
    finally:
        for handle in handles:
            handle.remove()
    assert len(set(calls)) == len(calls) == len(handles)
    return results


def changed_by_hook(layer, x):
    handle = layer.register_forward_hook(lambda m, i, o: (2 * o[0], o[1]))
    output = layer(x)[0]
    handle.remove()
    layer.zero_grad()
    results = by_backward(layer, x)
    assert torch.allclose(output, 2 * results[0])
    return results


def to_disk():
    def pack(t):
        file = io.BytesIO()
        torch.save(t, file)
        return file

    def unpack(file):
        file.seek(0)
        return torch.load(file)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


def function_transforms(layer, x):
    parameters = {k: v.detach() for k, v in layer.named_parameters()}

    def loss(x, parameters):
        output = torch.func.functional_call(layer, parameters, (x,))[0]
        return output.square().sum(), output

    (dx, grads), output = torch.func.grad(loss, (0, 1), has_aux=True)(x, parameters)
    _, pullback, aux = torch.func.vjp(lambda x: loss(x, parameters), x, has_aux=True)
    assert torch.allclose(pullback(torch.ones(()))[0], dx) and torch.allclose(aux, output)
    one = torch.func.vmap(lambda x: layer(x[None])[0][0])(x)
    assert torch.allclose(one, output, atol=1e-6)
    return output, dx, *grads.values()


def forward_mode(layer, x):
    """Directional derivatives, by dual numbers and torch.func, are those of backward."""
    tangent = torch.randn_like(x)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        loss = layer(dual)[0].square().sum()
        got = torch.autograd.forward_ad.unpack_dual(loss).tangent
    results = by_backward(layer, x)
    _, again = torch.func.jvp(lambda x: layer(x)[0].square().sum(), (x,), (tangent,))
    want = (results[1] * tangent).sum()
    assert torch.allclose(got, want, rtol=1e-4) and torch.allclose(again, want, rtol=1e-4)
    return results


def copied(layer, x):
    by_backward(layer, x)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    twin.zero_grad()
    return by_backward(twin, x)


def replicated(layer, x):
    """As nn.DataParallel does it."""
    replica = layer._replicate_for_data_parallel()
    for name, parameter in layer.named_parameters():
        setattr(replica, name, parameter)
    return by_backward(layer, x, replica)


def parametrized(layer, x):
    """The weight is the output of a module at every access."""
    order = [name for name, _ in layer.named_parameters()]
    nn.utils.parametrize.register_parametrization(layer, 'weight_hh_l0', nn.Identity())
    names = [name for name, _ in layer.named_parameters()]
    results = by_backward(layer, x)
    grads = dict(zip(names, results[2:]))
    grads['weight_hh_l0'] = grads.pop('parametrizations.weight_hh_l0.original')
    return *results[:2], *(grads[name] for name in order)


def fake(layer, x):
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        shapes = [t.shape for t in by_backward(copy.deepcopy(layer), mode.from_tensor(x))]
    results = by_backward(layer, x)
    assert shapes == [t.shape for t in results]
    return results


def counted(layer, x):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False):
        return by_backward(layer, x)


def flat_parameters(layer, x):
    """Channels-last layers, too."""
    layer.to(memory_format=torch.channels_last)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector.clone(), layer.parameters())
    return by_backward(layer, x)


def two_backwards(layer, x):
    x = x.clone().requires_grad_()
    output = layer(x)[0]
    for _ in range(2):
        layer.zero_grad()
        x.grad = None
        output.square().sum().backward(retain_graph=True)
    return output, x.grad, *(p.grad for p in layer.parameters())


class DispatchMode(torch.utils._python_dispatch.TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class FunctionMode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


OBSERVERS = {
    'hooks': hooks,
    'hook that changes the output': changed_by_hook,
    'profiler': inside(torch.profiler.profile),
    'checkpoint, reentrant': checkpointed(True),
    'checkpoint': checkpointed(False),
    'save_on_cpu': inside(torch.autograd.graph.save_on_cpu),
    'saved tensors on disk': inside(to_disk),
    'anomaly mode': inside(torch.autograd.detect_anomaly),
    'dispatch mode': inside(DispatchMode),
    'function mode': inside(FunctionMode),
    'flop counter': counted,
    'torch.func': function_transforms,
    'forward-mode AD': forward_mode,
    'compile': lambda layer, x: by_backward(layer, x, torch.compile(layer, backend='eager')),
    'aot': lambda layer, x: by_backward(layer, x, torch.compile(layer, backend='aot_eager')),
    'export': lambda layer, x: by_backward(layer, x, torch.export.export(layer, (x,)).module()),
    'trace': lambda layer, x: by_backward(layer, x, torch.jit.trace(layer, x)),
    'fake tensors': fake,
    'copies': copied,
    'replicate': replicated,
    'parametrization': parametrized,
    'flat parameters': flat_parameters,
    'two backwards': two_backwards,
}


@pytest.fixture
def clip():
    return torch.randn(2, 3, 3, 5, 4)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning', 'ignore:Anomaly Detection')
@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('observer', OBSERVERS)
def test_observer(observer, options, clip):
    torch._dynamo.reset()
    layer = ConvLSTM(3, 4, **OPTIONS[options]).eval()
    plain = copy.deepcopy(layer)
    plain.fused = False
    want = by_backward(plain, clip)
    got = OBSERVERS[observer](layer, clip)
    if observer == 'export':  # its module holds parameters of its own
        got, want = got[:2], want[:2]
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert (a - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize('gate_conv', ['full', 'depthwise', 'pooled'])
def test_exported_graph_is_plain(gate_conv, clip):
    program = torch.export.export(ConvLSTM(3, 4, gate_conv=gate_conv).eval(), (clip,))
    calls = [str(node.target) for node in program.graph.nodes if node.op == 'call_function']
    assert calls and not any('conv_lstm' in call for call in calls)


def test_second_derivative_names_the_cure(clip):
    for options in ({}, dict(peephole=True), dict(gate_conv='depthwise'), dict(gate_conv='pooled')):
        layer, x = ConvLSTM(3, 4, **options), clip.clone().requires_grad_()
        (grad,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match='fused=False'):
            grad.sum().backward()
