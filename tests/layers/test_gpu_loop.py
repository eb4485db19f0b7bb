"""The GPU's time loop against the plain one in float64.

Its Triton kernels run in Triton's interpreter here, and compiled where there
is a GPU."""

import os
import subprocess
import sys

import pytest
import torch
from helpers.triton_interpreter import hasten

from cnnlstm_mm.layers import ConvLSTM, gpu
from cnnlstm_mm.layers.geometry import Geometry, conv2d
from cnnlstm_mm.layers.gpu.kernel_choice import VARIABLE
from cnnlstm_mm.layers.gpu.loop import run_backward, run_forward
from cnnlstm_mm.layers.gpu.plain_kernels import PlainKernels
from cnnlstm_mm.layers.recurrence import Options
from cnnlstm_mm.layers.reference_loop import loop

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
if INTERPRETED:
    hasten()
interpreted = pytest.mark.skipif(not INTERPRETED, reason='run by test_in_the_interpreter')
gpus = [
    pytest.mark.gpu,
    pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason='needs CUDA'),
]
KERNELS = [
    pytest.param(name, device, id=f'{name}-{device}', marks=marks)
    for name in ('plain', 'update', 'gemm', 'persistent')
    for device, marks in (('cpu', [] if name == 'plain' else interpreted), ('cuda', gpus))
]
OPTIONS = [
    dict(),
    dict(h0=False),
    dict(peephole=(1, 1)),
    dict(peephole=(5, 4), hard=1 / 6, reverse=True),
    dict(mask=True),
    dict(mask=True, h0=False, reverse=True),
    dict(lengths=[3, 2, 1]),
    dict(lengths=[3, 2, 1], reverse=True, mask=True, peephole=(1, 1)),
    dict(lengths=[3, 3, 2], reverse=True, h0=False, hard=0.2),
    dict(batch=0, lengths=None),
    dict(frames=1),
    dict(size=(1, 1), peephole=(1, 1)),
    dict(size=(7, 5), hidden=19, batch=2),  # several tiles
    dict(hidden=1, kernel=(1, 1)),
    dict(kernel=(5, 3)),
    dict(kernel=(2, 4)),
    dict(kernel=(1, 7), mask=True, lengths=[3, 1, 1]),
]


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason='is inside')
def test_in_the_interpreter():
    pytest.importorskip('triton', reason='needs triton: pip install triton')
    result = subprocess.run(
        [
            *(sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__),
            *('-p', 'no:hypothesispytest', '-k', 'not plain-cpu'),  # which need no interpreter
        ],
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'passed' in result.stdout


@pytest.fixture(autouse=True)
def _no_tf32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


def force(name, device, monkeypatch):
    """These kernels also on a CPU; 'plain' ones without the interpreter, too."""
    monkeypatch.setenv(VARIABLE, name)
    if device == 'cpu':
        monkeypatch.setenv('TRITON_INTERPRET', '1')


def build(name):
    """The kernels of this name, with a tile of which no size here is a multiple."""
    if name == 'plain':
        return PlainKernels()
    from cnnlstm_mm.layers.gpu.triton_kernels import PersistentKernels, Tile, TritonKernels

    tile = None if name == 'update' else Tile(64, 16, 128, 4, 2)
    if name == 'persistent':
        # The interpreter runs one program after the other, so that none can wait for the next.
        return PersistentKernels(tile, False, 1 if INTERPRETED else 64)
    return TritonKernels(tile, tf32=False)


def problem(
    device,
    dtype,
    batch=3,
    frames=3,
    hidden=10,
    size=(5, 4),
    kernel=(3, 3),
    h0=True,
    peephole=None,
    mask=False,
    hard=0.0,
    reverse=False,
    lengths=None,
):
    """Inputs by name, and ``Options`` without peephole and mask."""
    torch.manual_seed(0)

    def normal(*shape, scale=1.0):
        return torch.randn(shape, dtype=torch.float64).mul_(scale).to(device, dtype)

    wide = torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype
    inputs = dict(
        gates_x=normal(batch, frames, 4 * hidden, *size, scale=2),
        weight=normal(4 * hidden, hidden, *kernel, scale=(hidden * kernel[0] * kernel[1]) ** -0.5),
        h0=normal(batch, hidden, *size) if h0 else None,
        c0=normal(batch, hidden, *size).to(wide),
        peephole=normal(3, hidden, *peephole).to(wide) if peephole else None,
    )
    drop = torch.rand(batch, hidden, *size, device=device).gt(0.3).to(wide) / 0.7
    sizes = lengths and [sum(length > t for length in lengths) for t in range(frames)]
    return inputs, Options(None, drop if mask else None, hard, reverse, sizes, Geometry())


def wanted(inputs, options, grads):
    """Results and gradients of the plain loop under autograd, in float64."""
    leaves = {
        k: None if t is None else t.detach().double().requires_grad_() for k, t in inputs.items()
    }
    h0 = torch.zeros_like(leaves['c0']) if leaves['h0'] is None else leaves['h0']
    mask = None if options.mask is None else options.mask.double()
    results = loop(
        leaves['gates_x'],
        lambda h: conv2d(h, leaves['weight']),
        h0,
        leaves['c0'],
        peephole=leaves['peephole'],
        mask=mask,
        hard=options.hard,
        reverse=options.reverse,
        batch_sizes=options.batch_sizes,
    )
    there = [t for t in leaves.values() if t is not None]
    return *results, *torch.autograd.grad(results, there, [g.double() for g in grads])


def got(kernels, inputs, options, grads):
    gates_x, weight, h0, c0, peephole = inputs.values()
    options = options._replace(peephole=peephole)
    *results, kept = run_forward(kernels, gates_x, weight, h0, c0, options, True)
    gradients = run_backward(kernels, weight, h0, c0, options, results[0], kept, *grads)
    return *results, *(g for g in gradients if g is not None)


def compare(kernels, inputs, options, tolerance):
    torch.manual_seed(1)
    gates_x, c0 = inputs['gates_x'], inputs['c0']
    output = gates_x.new_empty(*gates_x.shape[:2], *c0.shape[1:])
    grads = torch.randn_like(output), torch.randn_like(output[:, 0]), torch.randn_like(c0)
    want = wanted(inputs, options, grads)
    have = got(kernels, inputs, options, grads)
    dtypes = [t.dtype for t in (output, output, c0)]
    dtypes += [t.dtype for t in inputs.values() if t is not None]
    assert len(have) == len(want)
    for a, b, dtype in zip(have, want, dtypes):
        assert a.shape == b.shape and a.dtype == dtype
        assert (a - b).norm() <= tolerance * b.norm()


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@pytest.mark.parametrize(('name', 'device'), KERNELS)
def test_every_option_equals_the_plain_loop(name, device, options):
    compare(build(name), *problem(device, torch.float64, **options), 1e-12)


@interpreted
def test_programs_of_one_launch_share_its_tiles():
    """In a single step, after which nobody waits."""
    kernels = build('persistent')
    kernels.programs = 3
    given = dict(frames=1, h0=False, size=(7, 5), hidden=19, batch=2)
    compare(kernels, *problem('cpu', torch.float64, **given), 1e-12)


@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)],
    ids=str,
)
@pytest.mark.parametrize(('name', 'device'), KERNELS)
def test_every_dtype(name, device, dtype, tolerance):
    given = dict(peephole=(5, 4), mask=True, lengths=[3, 2, 1])
    compare(build(name), *problem(device, dtype, **given), tolerance)


@pytest.mark.parametrize(('name', 'device'), KERNELS)
def test_saturated_hard_sigmoid_has_no_slope(name, device):
    inputs, options = problem(device, torch.float32, hard=True)
    inputs['gates_x'].mul_(10).clamp_(-30, 30)
    *_, kept = run_forward(
        build(name), *list(inputs.values())[:4], options._replace(peephole=None), True
    )
    i, f, _, o = kept[0].chunk(4, -1)
    for gate in (i, f, o):
        assert (gate == 1).float().mean() > 0.2 and (gate == 0).float().mean() > 0.2
    compare(build(name), inputs, options, 2e-6)


@pytest.mark.parametrize(('name', 'device'), KERNELS)
def test_training_and_evaluation_give_the_same_bits(name, device):
    inputs, options = problem(device, torch.float32)
    given = [*list(inputs.values())[:4], options]
    train, evaluate = (run_forward(build(name), *given, save)[:3] for save in (True, False))
    for a, b in zip(train, evaluate):
        assert torch.equal(a, b)


@pytest.mark.parametrize(('name', 'device'), KERNELS)
@pytest.mark.parametrize(
    'options',
    [
        dict(peephole=True),
        dict(recurrent_activation='hard_sigmoid', padding='valid', stride=2),
        dict(bidirectional=True, num_layers=2),
    ],
    ids=str,
)
def test_layer_equals_the_plain_loop(name, device, options, monkeypatch):
    force(name, device, monkeypatch)
    torch.manual_seed(0)
    layer = ConvLSTM(3, 4, **options).double().to(device)
    x = torch.randn(3, 3, 3, 5, 7, dtype=torch.float64, device=device, requires_grad=True)
    results = []
    for layer.fused in (True, False):
        output, (h, c) = layer(x, None, [1, 3, 2])
        loss = output.square().sum() + h.sum() + c.sum()
        results.append((output, *torch.autograd.grad(loss, [x, *layer.parameters()])))
    assert gpu.runs(x)
    for a, b in zip(*results):
        assert a.shape == b.shape and (a - b).norm() <= 1e-10 * b.norm()


@pytest.mark.slow
@pytest.mark.parametrize('convolved', [False, True])
@pytest.mark.parametrize('save', [False, True])
@pytest.mark.parametrize(('name', 'device'), KERNELS[:4])
def test_operator_is_what_torch_compile_believes(name, device, save, convolved, monkeypatch):
    force(name, device, monkeypatch)
    sizes = dict(batch=2, frames=2, hidden=3, size=(3, 2), peephole=(3, 2))
    inputs, _ = problem(device, torch.float32, **sizes)
    gates_x, weight, h0, c0, peephole = (t.requires_grad_(save) for t in inputs.values())
    given = gates_x, None, weight, None
    if convolved:
        x, weight_ih = torch.randn(2, 2, 2, 3, 2), torch.randn(12, 2, 3, 3)
        given = x.to(device).requires_grad_(save), weight_ih.to(device), weight, c0.new_ones(12)
    options = peephole, None, False, False, None, [1, 1, 1, 1], [1, 1], [1, 1], None
    operator = torch.ops.cnnlstm_mm.conv_lstm.default
    torch.library.opcheck(operator, (*given, h0, c0, save, *options))


@pytest.mark.parametrize(('name', 'device'), KERNELS[:4])
def test_gradients_lie_as_torch_compile_believes(name, device, monkeypatch):
    force(name, device, monkeypatch)
    layer = ConvLSTM(2, 4, peephole=(5, 4)).to(device)
    x = torch.randn(2, 3, 5, 4, 2, device=device).permute(0, 1, 4, 2, 3).requires_grad_()
    state = tuple(torch.randn(1, 2, 4, 5, 4, device=device, requires_grad=True) for _ in range(2))
    strides = []
    operator = torch.ops.cnnlstm_mm.conv_lstm_backward.default

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if func is operator:
                strides.append([t.stride() for t in result])
                with torch._subclasses.FakeTensorMode() as mode:
                    args = torch.utils._pytree.tree_map_only(torch.Tensor, mode.from_tensor, args)
                    strides.append([t.stride() for t in func(*args)])
            return result

    with Watch():
        layer(x, state)[0].square().sum().backward()
    assert strides[0] == strides[1]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two GPUs')
def test_second_gpu():
    layer, x = ConvLSTM(3, 8), torch.randn(2, 5, 3, 6, 6)
    want = layer(x)[0]
    with torch.cuda.device(0):
        output = layer.to('cuda:1')(x.to('cuda:1'))[0]
    assert (output.cpu() - want).norm() <= 1e-2 * want.norm()
