"""The Triton kernels against the plain path, in Triton's interpreter here and
compiled where there is a GPU."""

import os
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip('triton', reason='needs triton: pip install triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
interpreted = pytest.mark.skipif(not INTERPRETED, reason='run by test_in_the_interpreter')
gpu = [pytest.mark.gpu, pytest.mark.skipif(INTERPRETED, reason='run outside the interpreter')]
DEVICES = [pytest.param('cpu', marks=interpreted), pytest.param('cuda', marks=gpu)]
PEEPHOLES = [None, (1, 1), (5, 4)]


@pytest.mark.skipif(INTERPRETED, reason='is inside')
def test_in_the_interpreter():
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__],
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'passed' in result.stdout


def close(a, b, relative=2e-6):
    assert a.shape == b.shape and a.dtype == b.dtype
    assert (a - b).norm() <= relative * b.norm()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('hard', [False, True])
@pytest.mark.parametrize('peephole', PEEPHOLES, ids=str)
def test_kernels_equal_the_plain_path(device, dtype, hard, peephole):
    from cnnlstm_mm.layers import pointwise, triton_ops

    torch.manual_seed(0)
    n, hidden, size = 3, 60, (5, 4)

    def normal(*shape):
        return torch.randn(shape, dtype=dtype, device=device)

    if peephole is not None:
        peephole = normal(3, hidden, *peephole)
    z, c, dh, dc = (normal(n, k * hidden, *size) for k in (4, 1, 1, 1))
    c[0, 0] = z[0, 2 * hidden] = 0
    c[1] *= 1e-8  # tanh near 0
    z[1, 2 * hidden : 3 * hidden] *= 1e-8
    z[2] *= 40  # saturated gates
    results = []
    for ops in (pointwise, triton_ops):
        gates, d_c = z.clone(), dc.clone()
        h, cell = ops.update_(gates, c, peephole, hard)
        dz = ops.update_backward_(gates, cell, c, dh.clone(), d_c, peephole, hard)
        results.append((gates, h, cell, dz, d_c, h[1], dz[1]))
    for a, b in zip(*results):
        close(b, a)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(
    'options',
    [
        dict(peephole=True),
        dict(recurrent_activation='hard_sigmoid'),
        dict(bidirectional=True, num_layers=2),
    ],
    ids=str,
)
def test_layer_equals_the_plain_loop(device, options, monkeypatch):
    from cnnlstm_mm.layers import ConvLSTM, recurrence, triton_ops

    monkeypatch.setattr(recurrence, 'pointwise_for', lambda _: triton_ops)
    torch.manual_seed(0)
    layer = ConvLSTM(3, 4, **options).double().to(device)
    x = torch.randn(3, 3, 3, 5, 4, dtype=torch.float64, device=device, requires_grad=True)
    results = []
    for layer.fused in (True, False):
        output, (h, c) = layer(x, None, [1, 3, 2])
        loss = output.square().sum() + h.sum() + c.sum()
        results.append((output, *torch.autograd.grad(loss, [x, *layer.parameters()])))
    for a, b in zip(*results):
        close(a, b, 1e-10)


@pytest.mark.gpu
def test_kernels_are_what_runs_on_a_gpu():
    from cnnlstm_mm.layers import triton_ops
    from cnnlstm_mm.layers.recurrence import pointwise_for

    assert pointwise_for(torch.zeros(1, device='cuda')) is triton_ops


@interpreted
def test_kernels_are_tried_out():
    from cnnlstm_mm.layers import recurrence, triton_ops

    recurrence._triton_ops.cache_clear()
    assert recurrence._triton_ops(torch.device('cpu')) is triton_ops


@pytest.mark.parametrize('lacks', ['triton', 'a compiler'])
def test_plain_operations_where_triton_cannot_compile(lacks, monkeypatch, caplog):
    """One line in the log, however often it is asked."""
    from cnnlstm_mm.layers import pointwise, recurrence, triton_ops

    def fail(device):
        raise RuntimeError('Failed to find C compiler')

    recurrence._triton_ops.cache_clear()
    if lacks == 'triton':
        monkeypatch.setattr(recurrence.importlib.util, 'find_spec', lambda name: None)
    else:
        monkeypatch.setattr(triton_ops, 'try_out', fail)
    on_gpu = SimpleNamespace(is_cuda=True, device=torch.device('cuda:1'))
    for _ in range(3):
        assert recurrence.pointwise_for(on_gpu) is pointwise
    lines = [r.getMessage() for r in caplog.records if r.name == 'cnnlstm_mm']
    assert len(lines) == (lacks != 'triton')
    assert all('cuda:1' in line and 'C compiler' in line for line in lines)
    recurrence._triton_ops.cache_clear()


@pytest.mark.skipif(not INTERPRETED, reason='run by test_in_the_interpreter')
def test_kernels_run_on_the_device_of_their_tensors(monkeypatch):
    from cnnlstm_mm.layers import triton_ops

    devices = []
    monkeypatch.setattr(
        torch.cuda, 'device_of', lambda t: devices.append(t.device) or nullcontext()
    )
    triton_ops.try_out(torch.device('cpu'))
    assert devices == [torch.device('cpu')] * 2
