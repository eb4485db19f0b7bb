"""The Triton kernels against the plain path, in Triton's interpreter here and
compiled where there is a GPU."""

import os
import subprocess
import sys

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
    results = []
    c[0, 0] = z[0, 2 * hidden] = 0  # the cell that o is to survive
    for ops in (pointwise, triton_ops):
        plain = c.clone(), torch.empty_like(c)
        ops.update_(z.clone(), *plain, peephole, hard)
        gates, after = z.new_empty(n, 2 * hidden, *size), c.clone()
        cell, h = torch.empty_like(c), torch.empty_like(c)
        ops.update_(z.clone(), after, h, peephole, hard, gates, cell)
        assert torch.equal(cell, after)
        # As in the time loop, where h and dz hold all steps.
        dz, d_c = z.new_zeros(n, 3, *z.shape[1:]), dc.clone()
        sequence = torch.stack([h, h], 1)
        ops.update_backward_(
            gates, cell, c, sequence[:, 1], dh.clone(), d_c, dz[:, 1], peephole, hard
        )
        results.append((*plain, gates, after, h, dz, d_c))
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
