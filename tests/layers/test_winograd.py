"""Winograd's algorithm against PyTorch's convolution and its gradients."""

import threading

import pytest
import torch
import torch.nn.functional as F
from helpers.support import run_python
from test_conv_lstm import check, relative

from cnnlstm_mm.layers import ConvLSTM, MinConvLSTM, convolution, dispatch, winograd
from cnnlstm_mm.layers.dispatch import Problem, choose
from cnnlstm_mm.layers.geometry import Geometry, geometry

SHAPES = [  # frames, in, out, H, W, pads
    (5, 6, 4, 7, 7, (1, 1, 1, 1)),
    (3, 4, 6, 7, 7, (0, 0, 0, 0)),
    (2, 3, 5, 4, 9, (1, 1, 0, 0)),
    (2, 3, 2, 6, 3, (0, 2, 1, 0)),
    (4, 2, 3, 1, 1, (1, 1, 1, 1)),
    (1, 1, 1, 3, 3, (0, 0, 0, 0)),
]


def example(frames, inputs, out, height, width, dtype=torch.float64):
    torch.manual_seed(0)
    return (
        torch.randn(frames, inputs, height, width, dtype=dtype),
        torch.randn(out, inputs, 3, 3, dtype=dtype),
        torch.randn(out, dtype=dtype),
    )


@pytest.mark.parametrize('chunk', [1, 1 << 22], ids=['chunks', 'whole'])
@pytest.mark.parametrize('shape', SHAPES)
def test_against_conv2d(shape, chunk, monkeypatch):
    monkeypatch.setattr(winograd, 'CHUNK', chunk)
    *sizes, pads = shape
    x, weight, bias = example(*sizes)
    x.requires_grad_(), weight.requires_grad_()
    want = F.conv2d(F.pad(x, pads), weight, bias)
    dz = torch.randn_like(want)
    dx, dw = torch.autograd.grad(want, (x, weight), dz)
    with torch.no_grad():
        g = Geometry(pads)
        assert relative(winograd.convolution(x, weight, bias, g), want) < 1e-14
        no_bias = want - bias[:, None, None]
        assert relative(winograd.convolution(x, weight, None, g), no_bias) < 1e-14
        assert relative(winograd.data_gradient(dz, x, weight, g), dx) < 1e-14
        assert relative(winograd.weight_gradient(x, dz, weight, g), dw) < 1e-14


def test_float32_is_as_exact_as_a_convolution():
    x, weight, _ = example(4, 512, 512, 7, 7, torch.float32)
    g, dz = Geometry((1, 1, 1, 1)), torch.randn(4, 512, 7, 7)

    def run(x, dz, weight):
        return (
            winograd.convolution(x, weight, None, g),
            winograd.data_gradient(dz, x, weight, g),
            winograd.weight_gradient(x, dz, weight, g),
        )

    got = run(x, dz, weight)
    args = x.double(), dz.double(), weight.double()
    want = F.conv2d(args[0], args[2], padding=1), *run(*args)[1:]
    for a, b in zip(got, want):
        assert relative(a.double(), b) < 1e-6


def test_gradient_has_the_layout_of_x():
    x, weight, _ = example(2, 4, 3, 5, 5)
    x = x.to(memory_format=torch.channels_last)
    dz = torch.randn(2, 3, 5, 5, dtype=x.dtype)
    dx = winograd.data_gradient(dz, x, weight, Geometry((1, 1, 1, 1)))
    assert dx.stride() == x.stride()
    want = F.conv_transpose2d(dz, weight, padding=1)
    assert relative(dx, want) < 1e-14


@pytest.mark.parametrize('transposed', [False, True])
def test_step(transposed):
    x, weight, bias = example(3, 4, 6, 7, 4)
    step = winograd.step(weight, (7, 4), None if transposed else bias, transposed=transposed)
    dz = torch.randn(2, 6, 7, 4, dtype=x.dtype)
    for _ in range(2):
        if transposed:
            want = F.conv_transpose2d(dz, weight, padding=1)
            assert relative(step(dz), want) < 1e-14
        else:
            want = F.conv2d(x, weight, bias, padding=1)
            assert relative(step(x), want) < 1e-14


def test_where_it_is_chosen():
    def chosen(x, out, kernel=(3, 3), pads=(1, 1, 1, 1)):
        weight = torch.empty(out, 256, *kernel, device='meta')
        return choose('forward', Problem.from_tensors(x, weight, Geometry(pads))) == 'winograd'

    x = torch.randn(64, 256, 7, 7)
    assert chosen(x, 1024)
    assert not chosen(x[:2], 1024)
    assert not chosen(x, 64)
    assert not chosen(x, 1024, (5, 5), (2, 2, 2, 2))
    assert not chosen(x.to('meta'), 1024)
    assert not chosen(x.bfloat16(), 1024)
    assert not chosen(torch.empty(64, 256, 28, 28), 1024)


@pytest.mark.parametrize('padding', ['same', 'valid'])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_convolution_takes_it(padding, memory_format, monkeypatch):
    calls = []
    for name in ('convolution', 'data_gradient', 'weight_gradient'):
        whole = getattr(winograd, name)
        monkeypatch.setattr(
            winograd, name, lambda *a, _f=whole, _n=name: calls.append(_n) or _f(*a)
        )
    x, weight, bias = example(12, 256, 256, 7, 8, torch.float32)
    x = x.to(memory_format=memory_format)
    g = geometry(x.shape[2:], (3, 3), padding)
    z = convolution.forward(x, weight, bias, g)
    dz = torch.randn_like(z)
    dx = convolution.data_gradient(dz, x, weight, g)
    got = z, dx, convolution.weight_gradient(x, dz, weight, g)
    assert calls == ['convolution', 'data_gradient', 'weight_gradient']
    doubles = tuple(t.double().requires_grad_() for t in (x, weight))
    z = F.conv2d(*doubles, bias.double(), padding=padding)
    want = z, *torch.autograd.grad(z, doubles, dz.double())
    for a, b, limit in zip(got, want, (1e-6, 1e-5, 1e-5)):
        assert relative(a.double(), b) < limit


@pytest.mark.parametrize('padding', ['same', 'valid'])
def test_layer(padding):
    """Input and recurrent convolutions of both directions with it."""
    torch.manual_seed(0)
    layer = ConvLSTM(128, 128, padding=padding)
    x = torch.randn(3, 5, 128, 8, 7, requires_grad=True)
    check(layer, x, None, None, 1e-6, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('value', [float('inf'), float('nan')])
@pytest.mark.parametrize('where', ['x', 'h0'])
@pytest.mark.parametrize('large', [False, True])
def test_values_that_are_not_finite_stay_where_a_convolution_puts_them(
    value, where, large, monkeypatch
):
    """The transforms would multiply all other pixels of the frame by them."""
    monkeypatch.setattr(dispatch, 'STEPWISE', 0 if large else 1 << 40)
    torch.manual_seed(0)
    layer, x = ConvLSTM(256, 256), torch.randn(2, 6, 256, 9, 9)
    state = torch.zeros(1, 2, 256, 9, 9), torch.zeros(1, 2, 256, 9, 9)
    (x[:, 1] if where == 'x' else state[0][0])[1, 5, 0, 2] = value
    results = []
    with torch.no_grad():
        for layer.fused in (True, False):
            output, (h, c) = layer(x, state)
            results.append((output, h, c))
    for a, b in zip(*results):
        assert torch.equal(a.isnan(), b.isnan())
        assert relative(a.nan_to_num(), b.nan_to_num()) < 1e-5


@pytest.mark.parametrize('value', [float('inf'), float('nan')])
def test_values_that_are_not_finite_in_min_conv_lstm(value):
    layer, x = MinConvLSTM(256, 256), torch.randn(2, 6, 256, 9, 9)
    x[1, 1, 5, 0, 2] = value
    results = []
    with torch.no_grad():
        for layer.fused in (True, False):
            results.append(layer(x)[0])
    assert torch.equal(*(r.isnan() for r in results))
    assert relative(*(r.nan_to_num() for r in results)) < 1e-5


def test_frames_that_no_sample_has():
    layer, x = ConvLSTM(256, 256, bidirectional=True), torch.randn(2, 5, 256, 7, 7)
    lengths = torch.tensor([2, 1])
    output, (h, c) = layer(x, None, lengths)
    want, (want_h, want_c) = layer(x[:, :2], None, lengths)
    assert torch.equal(h, want_h) and torch.equal(c, want_c)
    assert relative(output[:, :2], want) < 1e-6 and not output[:, 2:].any()
    output.sum().backward()


def test_inference_mode_leaves_training_be():
    """Matrices made in inference mode are used after it."""
    winograd.transforms.cache_clear()
    torch.manual_seed(0)
    layer = ConvLSTM(128, 128)
    x = torch.randn(2, 6, 128, 7, 7)
    with torch.inference_mode():
        want = layer(x)[0].clone()
    got = layer(x)[0]
    got.sum().backward()
    assert torch.equal(got.detach(), want)


MEMORY = """
import gc, threading, torch
from pathlib import Path
from cnnlstm_mm.layers import ConvLSTM, MinConvLSTM, dispatch

dispatch.fast_products = lambda: True
torch.set_num_threads(1)

def resident():
    gc.collect()
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 >> 20

def run(width=64):
    layer = ConvLSTM(640, width)
    layer(torch.randn(4, 4, 640, 7, 7, requires_grad=True))[0].sum().backward()

run(8)
before = resident()
for _ in range(2):
    threads = [threading.Thread(target=run, args=(256,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(resident() - before)
"""


@pytest.mark.slow
def test_memory_is_given_back():
    """The transformed weight alone is 42 MB a thread."""
    done = run_python('-c', MEMORY, env={'MALLOC_MMAP_THRESHOLD_': '65536', 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30


def test_threads_have_their_own_rooms():
    torch.manual_seed(0)
    jobs = [(torch.randn(6, 16, 7, 7), torch.randn(16, 16, 3, 3)) for _ in range(4)]
    want = [F.conv2d(x, w, padding=1) for x, w in jobs]
    worst = [None] * len(jobs)

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        with winograd.rooms():
            return winograd.convolution(x, weight, None, Geometry((1, 1, 1, 1)))

    def run(k: int) -> None:
        worst[k] = max(relative(convolve(*jobs[k]), want[k]) for _ in range(30))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) < 1e-6
