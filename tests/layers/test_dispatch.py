"""The table of convolution algorithms."""

from pathlib import Path

import pytest
import torch

from cnnlstm_mm.layers import convolution, dispatch
from cnnlstm_mm.layers.dispatch import TABLE, Problem, choose
from cnnlstm_mm.layers.geometry import Geometry

REAL = dispatch.fast_products
BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.mark.parametrize('row', TABLE, ids=lambda row: f'{row.operation}-{row.algorithm}')
def test_every_row_names_a_benchmark(row):
    script, _, case = row.benchmark.rpartition(': ')
    assert repr(case) in (BENCHMARKS / (script or 'conv_lstm_algorithms.py')).read_text()


@pytest.mark.parametrize(
    'cpuinfo, fast', [('vendor_id\t: GenuineIntel', True), ('vendor_id\t: AuthenticAMD', False)]
)
def test_products_are_slow_on_amd(cpuinfo, fast, monkeypatch):
    monkeypatch.setattr(Path, 'is_file', lambda self: True)
    monkeypatch.setattr(Path, 'read_text', lambda self: cpuinfo)
    assert REAL.__wrapped__() == fast


@pytest.mark.parametrize(
    'operation, pads, slow',
    [
        ('forward', 1, 'torch'),
        ('data_gradient', 1, 'torch'),
        ('weight_gradient', 1, 'winograd'),
        ('forward', 0, 'winograd'),
        ('data_gradient', 0, 'winograd'),
        ('weight_gradient', 0, 'winograd'),
    ],
)
def test_convolutions_where_products_are_slow(operation, pads, slow, monkeypatch):
    x, weight = torch.empty(64, 512, 7, 7), torch.empty(1024, 512, 3, 3)
    problem = Problem.from_tensors(x, weight, Geometry((pads,) * 4))
    assert choose(operation, problem) == 'winograd'
    monkeypatch.setattr(dispatch, 'fast_products', lambda: False)
    assert choose(operation, problem) == slow


def test_steps_where_products_are_slow(monkeypatch):
    problem = Problem(
        torch.device('cpu'), torch.float32, 2, 256, 1024, (7, 7), (3, 3), Geometry((1,) * 4), 32
    )
    for fast in (True, False):
        monkeypatch.setattr(dispatch, 'fast_products', lambda fast=fast: fast)
        for operation in ('step', 'transposed_step'):
            assert (choose(operation, problem) == 'winograd') == fast


@pytest.mark.parametrize('groups', [1, 4])
@pytest.mark.parametrize('transposed', [False, True])
@pytest.mark.parametrize('calls', [1, 8])
@pytest.mark.parametrize('kernel', [(3, 3), (1, 1), (2, 4)])
def test_step_convolution(kernel, calls, transposed, groups):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 8, 5, 6), torch.randn(12, 8 // groups, *kernel)
    pads = [(kernel[1] - 1) // 2, kernel[1] // 2, (kernel[0] - 1) // 2, kernel[0] // 2]
    x.requires_grad_()
    want = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, pads), weight, torch.ones(12), groups=groups
    )
    bias = None if transposed else torch.ones(12)
    conv = convolution.step_conv(
        weight, 3, (5, 6), bias, groups=groups, transposed=transposed, calls=calls
    )
    given = x
    if transposed:
        given = torch.randn_like(want)
        (want,) = torch.autograd.grad(want, x, given)
    with torch.no_grad():
        got = conv(given)
    assert (got - want).norm() <= 1e-6 * want.norm()
