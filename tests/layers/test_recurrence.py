"""The fused loop on a CPU: single steps, memory formats, its way past the dispatcher."""

from typing import ClassVar

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cnnlstm_mm.layers import ConvLSTM, convolution, dispatch
from cnnlstm_mm.layers.geometry import Geometry

SAME = Geometry((1, 1, 1, 1))
OPTIONS = [
    dict(),
    dict(bias=False),
    dict(peephole=True, recurrent_dropout=0.5),
    dict(go_backwards=True, num_layers=2),
    dict(bidirectional=True, recurrent_activation='hard_sigmoid'),
    dict(padding='valid'),
    dict(kernel_size=(2, 3)),
    dict(kernel_size=5, gate_conv='depthwise'),
]


class Nothing(TorchDispatchMode):
    """Sees all operations and leaves them as they are."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


def channels_last(x):
    return x.movedim(-3, -1).contiguous().movedim(-1, -3)


def step_of(layer, dtype=torch.float32):
    """A single frame and a state, all with gradients."""
    torch.manual_seed(0)
    x = torch.randn(2, 1, 3, 5, 4, dtype=dtype, requires_grad=True)
    shape = layer.num_layers * layer.directions, 2, 4, *layer.output_size((5, 4))
    return x, tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(2))


def results_of(layer, x, state):
    """Output, state and all gradients."""
    torch.manual_seed(1)
    output, (h, c) = layer(x, state)
    loss = output.square().sum() + (h * c).sum()
    return output, h, c, *torch.autograd.grad(loss, [x, *state, *layer.parameters()])


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_single_step_from_a_state(options):
    layer = ConvLSTM(3, 4, **{'kernel_size': 3, **options}).double()
    x, state = step_of(layer, torch.float64)
    got = results_of(layer, x, state)
    layer.fused = False
    for a, b in zip(got, results_of(layer, x, state)):
        assert (a - b).norm() <= 1e-12 * b.norm()


@pytest.mark.parametrize('steps, state, way', [(1, True, 'stepwise'), (1, False, 'torch')])
def test_one_convolution_takes_a_small_step_from_a_state(steps, state, way, monkeypatch):
    layer, shapes = ConvLSTM(3, 4), []
    x = torch.randn(2, steps, 3, 5, 4)
    h = c = torch.randn(1, 2, 4, 5, 4)
    real = torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional, 'conv2d', lambda x, *rest: shapes.append(x.shape) or real(x, *rest)
    )
    with torch.inference_mode():
        layer(x, (h, c) if state else None)
    assert shapes == ([(2, 7, 5, 4)] if way == 'stepwise' else [(2, 3, 5, 4)])


def test_large_weights_are_not_joined_for_one_step():
    for inputs, way in ((64, 'stepwise'), (2048, 'torch')):
        problem = dispatch.Problem(
            torch.device('cpu'), torch.float32, 2, inputs, 256, (7, 7), (3, 3), SAME
        )
        assert dispatch.choose('single_step', problem) == way
        assert dispatch.choose('layer', problem) == 'torch'


def test_frozen_input_of_a_single_step():
    layer = ConvLSTM(3, 4)
    x, state = step_of(layer)
    want = results_of(layer, x, state)
    output, (h, c) = layer(x.detach(), state)
    loss = output.square().sum() + (h * c).sum()
    for a, b in zip(torch.autograd.grad(loss, [*state, *layer.parameters()]), want[4:]):
        assert (a - b).norm() <= 1e-6 * b.norm()


@pytest.mark.parametrize('inputs, out', [(8, 12), (512, 1024)])
def test_channels_last_frames_take_the_order_of_the_weight(inputs, out, monkeypatch):
    monkeypatch.setattr(dispatch, 'fast_products', lambda: False)
    x, weight = torch.randn(3, inputs, 6, 6), torch.randn(out, inputs, 3, 3)
    dz, last = torch.randn(3, out, 6, 6), channels_last(x)
    want = convolution.forward(x, weight, None, SAME)
    got = convolution.forward(last, weight, None, SAME)
    assert got.is_contiguous() and torch.equal(got, want)
    want = convolution.data_gradient(dz, x, weight, SAME)
    got = convolution.data_gradient(dz, last, weight, SAME)
    assert got.stride() == last.stride() and torch.equal(got, want)
    want = convolution.weight_gradient(x, dz, weight, SAME)
    assert torch.equal(convolution.weight_gradient(last, dz, weight, SAME), want)


@pytest.mark.parametrize('options', [dict(), dict(gate_conv='depthwise'), dict(peephole=True)])
def test_past_the_dispatcher_and_through_it_are_the_same_bits(options):
    layer = ConvLSTM(3, 4, **options)
    x, state = step_of(layer)
    want = results_of(layer, x, state)
    with Nothing() as mode:
        got = results_of(layer, x, state)
    assert {'cnnlstm_mm.conv_lstm.default', 'cnnlstm_mm.conv_lstm_backward.default'} <= mode.seen
    for a, b in zip(got, want):
        assert torch.equal(a, b)
    with torch.inference_mode():
        assert torch.equal(layer.eval()(x, state)[0], want[0])


def test_subclasses_of_tensors_meet_the_operator():
    class Labelled(torch.Tensor):
        seen: ClassVar[set] = set()

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            cls.seen.add(getattr(func, '__name__', str(func)))
            return super().__torch_function__(func, types, args, kwargs or {})

    layer = ConvLSTM(3, 4)
    x = torch.randn(2, 3, 3, 5, 4)
    got = layer(x.as_subclass(Labelled))[0]
    assert any('conv_lstm' in name for name in Labelled.seen)
    assert torch.equal(got.as_subclass(torch.Tensor), layer(x)[0])


def test_many_gradients_at_once_are_refused():
    """torch.func computes them, for which the operator has no rule."""
    x = torch.randn(1, 2, 3, 4, 3, requires_grad=True)
    output = ConvLSTM(3, 4)(x)[0]
    with pytest.raises(RuntimeError, match='Batching rule not implemented'):
        torch.autograd.grad(output, x, torch.ones(3, *output.shape), is_grads_batched=True)


def strides_of(tensors):
    """Where there is more than one value to step to."""
    return [[k for k, n in zip(t.stride(), t.shape) if n > 1] for t in tensors]


@pytest.mark.parametrize('frames', [1, 3])
@pytest.mark.parametrize('large', [False, True])
def test_gradients_lie_as_torch_compile_believes(frames, large, monkeypatch):
    monkeypatch.setattr(dispatch, 'STEPWISE', 0 if large else 1 << 40)
    layer = ConvLSTM(3, 4, peephole=(5, 4))
    state = tuple(torch.randn(1, 2, 4, 5, 4, requires_grad=True) for _ in range(2))
    x = channels_last(torch.randn(2, frames, 3, 5, 4))
    operator, strides = torch.ops.cnnlstm_mm.conv_lstm_backward.default, []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is operator:
                strides.append(strides_of(result))
                with torch._subclasses.FakeTensorMode() as mode:
                    args = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, args)
                    strides.append(strides_of(func(*args)))
            return result

    for given in (x, x.contiguous(), x.transpose(1, 2).contiguous().transpose(1, 2)):
        strides.clear()
        with Watch():
            layer(given.clone().requires_grad_(), state)[0].square().sum().backward()
        assert strides[0] == strides[1]
