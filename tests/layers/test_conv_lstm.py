"""ConvLSTM against a plain reference: every option, and pairs of them."""

from itertools import combinations

import pytest
import torch
from helpers.conv_lstm_reference import reference

from cnnlstm_mm.layers import ConvLSTM, convolution
from cnnlstm_mm.layers.dispatch import Problem, choose
from cnnlstm_mm.layers.geometry import Geometry

OPTIONS = {
    'valid': dict(padding='valid'),
    'stride': dict(stride=2),
    'dilation': dict(dilation=(2, 1)),
    'kernel1': dict(kernel_size=1),
    'kernel5x3': dict(kernel_size=(5, 3)),
    'even_kernel': dict(kernel_size=(2, 4)),
    'no_bias': dict(bias=False),
    'hard_sigmoid': dict(recurrent_activation='hard_sigmoid'),
    'hard_sigmoid_keras2': dict(recurrent_activation='hard_sigmoid_keras2'),
    'relu': dict(activation='relu'),
    'layers': dict(num_layers=2),
    'sizes': dict(hidden_channels=[3, 1]),
    'bidirectional': dict(bidirectional=True),
    'backwards': dict(go_backwards=True),
    'peephole': dict(peephole=True),
    'peephole_map': dict(peephole=(3, 2)),
    'dropout': dict(dropout=0.4),
    'recurrent_dropout': dict(recurrent_dropout=0.4),
    'norm': dict(norm=True),
    'depthwise': dict(gate_conv='depthwise'),
    'pooled': dict(gate_conv='pooled'),
    'plain': dict(fused=False),
}
PAIRS = [
    pair
    for pair in combinations([name for name in OPTIONS if name != 'hard_sigmoid_keras2'], 2)
    if not set(OPTIONS[pair[0]]) & set(OPTIONS[pair[1]])
    and set(pair) not in ({'norm', 'pooled'}, {'layers', 'sizes'})
]
LENGTHS = [None, [1, 4, 3]]


@pytest.fixture(params=['small', 'large'])
def frame_size(request, monkeypatch):
    """Both ways to walk through the steps: that for small frames and that for
    large ones."""
    if request.param == 'large':
        monkeypatch.setattr('cnnlstm_mm.layers.dispatch.STEPWISE', 0)
        monkeypatch.setattr('cnnlstm_mm.layers.separable.CHUNK', 90)


def make(options, dtype=torch.float64, inputs=2, hidden=2, size=(5, 4)):
    """A layer with random parameters, a clip of 3 samples and 4 frames, and
    initial states."""
    torch.manual_seed(0)
    options = {'hidden_channels': hidden, 'kernel_size': 3, **options}
    layer = ConvLSTM(inputs, **options).to(dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(3, 4, inputs, *size, dtype=dtype, requires_grad=True)
    shape = (*layer.states.shape(3), *layer.output_size(size))
    state = tuple(torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(2))
    return layer, x, state


def run(function, layer, x, state, lengths):
    """Outputs and all gradients of a fixed random projection of them."""
    torch.manual_seed(1)
    output, (h, c) = function(x, state, lengths)
    outputs = (output, h, c)
    torch.manual_seed(2)
    loss = sum((o * torch.randn(o.shape).to(o)).sum() for o in outputs)
    inputs = [x, *(state or ()), *layer.parameters()]
    return outputs, torch.autograd.grad(loss, inputs)


def relative(a, b):
    return ((a - b).norm() / b.norm().clamp(min=1e-30)).item()


def check(layer, x, state, lengths, forward, backward):
    got, got_grads = run(layer, layer, x, state, lengths)
    want, want_grads = run(lambda *a: reference(layer, *a), layer, x, state, lengths)
    for name, a, b in zip(('output', 'h', 'c'), got, want):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert relative(a, b) <= forward, name
    names = ['x'] + (['h0', 'c0'] if state else []) + [name for name, _ in layer.named_parameters()]
    for name, a, b in zip(names, got_grads, want_grads):
        assert relative(a, b) <= backward, name


@pytest.mark.parametrize('with_state', [True, False], ids=['state', 'zeros'])
@pytest.mark.parametrize(
    'name, lengths',
    [
        (name, lengths)
        for name in ('default', *OPTIONS)
        for lengths in LENGTHS
        # Dropout draws its masks in the order of the lengths.
        if not lengths or 'dropout' not in name
    ],
)
def test_option_equals_reference(name, lengths, with_state, frame_size):
    options = OPTIONS.get(name, {})
    layer, x, state = make(options)
    check(layer, x, state if with_state else None, lengths, 1e-12, 1e-11)


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS, ids='-'.join)
def test_pair_of_options_equals_reference(pair, frame_size):
    layer, x, state = make({**OPTIONS[pair[0]], **OPTIONS[pair[1]]})
    lengths = None if any('dropout' in name for name in pair) else LENGTHS[1]
    check(layer, x, state, lengths, 1e-12, 1e-11)


def finite_differences(options, lengths, size=(4, 3)):
    """Whether the gradients of everything equal finite differences."""
    layer, x, state = make(options, size=size)
    names, parameters = zip(*layer.named_parameters())

    def function(x, h, c, *parameters):
        torch.manual_seed(1)
        output, (h, c) = torch.func.functional_call(
            layer, dict(zip(names, parameters)), (x, (h, c), lengths)
        )
        return output, h, c

    return torch.autograd.gradcheck(function, (x, *state, *parameters), fast_mode=True)


@pytest.mark.slow
@pytest.mark.parametrize('lengths', LENGTHS, ids=['even', 'ragged'])
@pytest.mark.parametrize('name', ['default', *OPTIONS])
def test_gradcheck(name, lengths, frame_size):
    assert finite_differences(OPTIONS.get(name, {}), lengths)


@pytest.mark.slow
@pytest.mark.parametrize('pair', PAIRS, ids='-'.join)
def test_gradcheck_of_a_pair(pair):
    assert finite_differences({**OPTIONS[pair[0]], **OPTIONS[pair[1]]}, None, (5, 4))


@pytest.mark.parametrize(
    'name', ['default', 'valid', 'peephole', 'layers', 'norm', 'depthwise', 'pooled']
)
def test_float32(name):
    layer, x, state = make(OPTIONS.get(name, {}), torch.float32, inputs=16, hidden=8, size=(9, 8))
    check(layer, x, state, None, 1e-6, 1e-5)


@pytest.mark.parametrize('padding', ['same', 'valid'])
def test_float32_many_channels(padding):
    """The sizes at which the weight gradient is a matrix product a tap."""
    torch.manual_seed(0)
    layer = ConvLSTM(400, 24, padding=padding, bias=True)
    x = torch.randn(2, 5, 400, 7, 7, requires_grad=True)
    check(layer, x, None, None, 1e-6, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('stride', [(1, 1), (2, 1)])
@pytest.mark.parametrize(
    'kernel, padding', [((3, 5), (1, 2)), ((2, 3), (0, 0)), ((1, 5), (0, 2)), ((5, 2), (3, 1))]
)
def test_convolution_by_rows(kernel, padding, stride, bias):
    """The way of many channels on small frames."""
    torch.manual_seed(0)
    x = torch.randn(60, 256, 7, 6)
    weight, bias = torch.randn(256, 256, *kernel), torch.randn(256) if bias else None
    want = torch.nn.functional.conv2d(
        x.double(), weight.double(), None if bias is None else bias.double(), stride, padding
    )
    g = Geometry((padding[1], padding[1], padding[0], padding[0]), stride)
    assert choose('forward', Problem.from_tensors(x, weight, g)) == 'rows'
    got = convolution.forward(x, weight, bias, g)
    assert got.is_contiguous() and relative(got.double(), want) <= 1e-6


def test_float32_by_rows():
    torch.manual_seed(0)
    layer = ConvLSTM(200, 64, kernel_size=(3, 5))
    x = torch.randn(3, 4, 200, 9, 8, requires_grad=True)
    problem = Problem.from_tensors(x.flatten(0, 1), layer.weight_ih_l0, Geometry((2, 2, 1, 1)))
    assert choose('forward', problem) == 'rows'
    check(layer, x, None, None, 1e-6, 1e-5)
