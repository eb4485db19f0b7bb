"""Winograd's way against PyTorch's convolution and its gradients."""

import threading

import pytest
import torch
import torch.nn.functional as F
from test_conv_lstm import check, relative

from cnnlstm_mm.layers import ConvLSTM, convolution, winograd

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


@pytest.mark.parametrize('chunk', [1, 1 << 23], ids=['chunks', 'whole'])
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
        args = list(pads)
        assert relative(winograd.convolution(x, weight, bias, args), want) < 1e-14
        assert (
            relative(winograd.convolution(x, weight, None, args), want - bias[:, None, None])
            < 1e-14
        )
        assert relative(winograd.data_gradient(dz, weight, x, args), dx) < 1e-14
        assert relative(winograd.weight_gradient(x, dz, args), dw) < 1e-14


def test_float32_is_as_exact_as_a_convolution():
    x, weight, _ = example(4, 512, 512, 7, 7, torch.float32)
    pads, dz = [1, 1, 1, 1], torch.randn(4, 512, 7, 7)
    args = x.double(), dz.double(), weight.double()
    want = (
        F.conv2d(args[0], args[2], padding=1),
        winograd.data_gradient(args[1], args[2], args[0], pads),
        winograd.weight_gradient(args[0], args[1], pads),
    )
    got = (
        winograd.convolution(x, weight, None, pads),
        winograd.data_gradient(dz, weight, x, pads),
        winograd.weight_gradient(x, dz, pads),
    )
    for a, b in zip(got, want):
        assert relative(a.double(), b) < 1e-6


def test_gradient_has_the_layout_of_x():
    x, weight, _ = example(2, 4, 3, 5, 5)
    x = x.to(memory_format=torch.channels_last)
    dz = torch.randn(2, 3, 5, 5, dtype=x.dtype)
    dx = winograd.data_gradient(dz, weight, x, [1, 1, 1, 1])
    assert dx.stride() == x.stride()
    want = F.conv_transpose2d(dz, weight, padding=1)
    assert relative(dx, want) < 1e-14


@pytest.mark.parametrize('transposed', [False, True])
def test_step(transposed):
    x, weight, bias = example(3, 4, 6, 7, 4)
    step = winograd.StepConvolution(
        weight, (7, 4), None if transposed else bias, transposed=transposed
    )
    dz = torch.randn(2, 6, 7, 4, dtype=x.dtype)
    for _ in range(2):
        if transposed:
            want = F.conv_transpose2d(dz, weight, padding=1)
            assert relative(step(dz), want) < 1e-14
        else:
            want = F.conv2d(x, weight, bias, padding=1)
            assert relative(step(x), want) < 1e-14


def test_where_it_is_faster():
    x = torch.randn(64, 256, 7, 7)
    taps, pads = (3, 3), (1, 1, 1, 1)
    assert winograd.is_faster(x, 1024, taps, pads)
    assert not winograd.is_faster(x[:2], 1024, taps, pads)
    assert not winograd.is_faster(x, 64, taps, pads)
    assert not winograd.is_faster(x, 1024, (5, 5), (2, 2, 2, 2))
    assert not winograd.is_faster(x.to('meta'), 1024, taps, pads)
    assert not winograd.is_faster(x.bfloat16(), 1024, taps, pads)
    assert not winograd.is_faster(torch.empty(64, 256, 28, 28), 1024, taps, pads)


@pytest.mark.parametrize('padding', ['same', 'valid'])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_convolve_takes_it(padding, memory_format, monkeypatch):
    calls = []
    for name in ('convolution', 'data_gradient', 'weight_gradient'):
        whole = getattr(winograd, name)
        monkeypatch.setattr(
            winograd, name, lambda *a, _f=whole, _n=name: calls.append(_n) or _f(*a)
        )
    x, weight, bias = example(12, 256, 256, 7, 8, torch.float32)
    x = x.to(memory_format=memory_format)
    inputs = tuple(t.requires_grad_() for t in (x, weight, bias))
    z = convolution.convolve(*inputs, padding=padding)
    dz = torch.randn_like(z)
    got = z, *torch.autograd.grad(z, inputs, dz)
    assert calls == ['convolution', 'data_gradient', 'weight_gradient']
    doubles = tuple(t.detach().double().requires_grad_() for t in inputs)
    z = F.conv2d(*doubles, padding=padding)
    want = z, *torch.autograd.grad(z, doubles, dz.double())
    for a, b, limit in zip(got, want, (1e-6, 1e-5, 1e-5, 1e-5)):
        assert relative(a.double(), b) < limit


@pytest.mark.parametrize('padding', ['same', 'valid'])
def test_layer(padding):
    """Input and recurrent convolutions of both directions by this way."""
    torch.manual_seed(0)
    layer = ConvLSTM(128, 128, padding=padding)
    x = torch.randn(3, 5, 128, 8, 7, requires_grad=True)
    check(layer, x, None, None, 1e-6, 1e-5)


def test_inference_mode_leaves_training_be():
    """Rooms and matrices made in inference mode are used after it."""
    winograd.transforms.cache_clear()
    winograd._ROOMS.__dict__.clear()
    torch.manual_seed(0)
    layer = ConvLSTM(128, 128)
    x = torch.randn(2, 6, 128, 7, 7)
    with torch.inference_mode():
        want = layer(x)[0].clone()
    got = layer(x)[0]
    got.sum().backward()
    assert torch.equal(got.detach(), want)


def test_threads_have_their_own_rooms():
    torch.manual_seed(0)
    jobs = [(torch.randn(6, 16, 7, 7), torch.randn(16, 16, 3, 3)) for _ in range(4)]
    want = [F.conv2d(x, w, padding=1) for x, w in jobs]
    worst = [None] * len(jobs)

    def run(k: int) -> None:
        worst[k] = max(
            relative(winograd.convolution(*jobs[k], None, [1, 1, 1, 1]), want[k]) for _ in range(30)
        )

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) < 1e-6


def test_compiled():
    torch.manual_seed(0)
    x, weight, bias = (t.requires_grad_() for t in example(12, 256, 256, 7, 7, torch.float32))
    for op, args in (
        (winograd.convolution, (x, weight, bias)),
        (winograd.data_gradient, (x, weight, x)),
        (winograd.weight_gradient, (x, x)),
    ):
        args = tuple(t.detach() for t in args)
        torch.library.opcheck(
            op, (*args, [1, 1, 1, 1]), test_utils=('test_schema', 'test_faketensor')
        )
