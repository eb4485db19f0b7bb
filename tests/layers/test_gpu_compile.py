"""Every Triton kernel compiles for sm_90 as it is launched, without a GPU."""

import os
import shutil
from pathlib import Path

import pytest
import torch

triton = pytest.importorskip('triton', reason='needs triton: pip install triton')
if os.environ.get('TRITON_INTERPRET') == '1':
    pytest.skip('needs the compiler, not the interpreter', allow_module_level=True)
from test_gpu_loop import problem

from cnnlstm_mm.layers.gpu import triton_kernels
from cnnlstm_mm.layers.gpu.loop import run_backward, run_forward

ASSEMBLER = Path(triton.__file__).parent / 'backends/nvidia/bin/ptxas'
pytestmark = pytest.mark.skipif(
    not (ASSEMBLER.exists() or shutil.which('ptxas')), reason='needs ptxas, of triton or CUDA'
)
if tuple(map(int, triton.__version__.split('.')[:2])) < (3, 5):
    reason = 'Triton 3.4 refuses small tiles and float64 products; such kernels are left out there'
    pytest.skip(reason, allow_module_level=True)
SHARED = 227 << 10  # bytes that a program can have on sm_90
TYPES = {
    torch.float16: '*fp16',
    torch.bfloat16: '*bf16',
    torch.float32: '*fp32',
    torch.float64: '*fp64',
    torch.int32: '*i32',
}
ALL = dict(peephole=(1, 1), mask=True, hard=True)


class Recorder:
    """Stands for a kernel and keeps the arguments of its first launch."""

    def __init__(self, kernel):
        self.kernel, self.launch, self.launches = kernel, None, 0

    def __getitem__(self, grid):
        def launch(*args, **constants):
            self.launch = self.launch or (args, constants)
            self.launches += 1

        return launch

    def compile(self):
        """The kernel as Triton would specialize it for these arguments."""
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        args, constants = self.launch
        names = 'num_warps', 'num_stages', 'launch_cooperative_grid'
        options = {k: constants.pop(k) for k in names if k in constants}
        signature, attributes = {}, {}
        names = self.kernel.arg_names
        fixed = self.kernel.params
        for k, (name, value) in enumerate(zip(names, args)):
            if isinstance(value, torch.Tensor):
                signature[name] = TYPES[value.dtype]
                attributes[k,] = [['tt.divisibility', 16]]
            elif fixed[k].do_not_specialize:
                signature[name] = 'i32'
            elif value == 1:
                constants[name] = 1
            else:
                signature[name] = 'i32'
                if value % 16 == 0:
                    attributes[k,] = [['tt.divisibility', 16]]
        signature.update(dict.fromkeys(constants, 'constexpr'))
        assert set(signature) == set(names)
        signature = {name: signature[name] for name in names}
        source = ASTSource(self.kernel, signature, constants, attributes)
        return triton.compile(source, target=GPUTarget('cuda', 90, 32), options=options)


@pytest.fixture
def recorders(monkeypatch):
    found = {}
    for name in ('forward_step', 'backward_step'):
        found[name] = Recorder(getattr(triton_kernels, name))
        monkeypatch.setattr(triton_kernels, name, found[name])
    return found


def launch(kernels, dtype, hidden=64, **options):
    inputs, options = problem('cpu', dtype, hidden=hidden, frames=2, size=(7, 7), **options)
    gates_x, weight, h0, c0, peephole = inputs.values()
    options = options._replace(peephole=peephole)
    output, h, c, kept = run_forward(kernels, gates_x, weight, h0, c0, options, True)
    run_backward(kernels, weight, h0, c0, options, output, kept, output, h, c)


@pytest.mark.parametrize('options', [dict(), ALL], ids=str)
@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64], ids=str)
def test_update(recorders, dtype, options):
    launch(triton_kernels.TritonKernels(None, tf32=True), dtype, **options)
    for recorder in recorders.values():
        ptx = recorder.compile().asm['ptx']
        assert 'ld.global.v' in ptx and 'st.global.v' in ptx


@pytest.mark.parametrize('direction', ['forward_step', 'backward_step'])
@pytest.mark.parametrize('number', range(5))
def test_tiles(recorders, direction, number):
    """Products on tensor cores, loads of 16 bytes in flight, no more memory than there is."""
    tiles = triton_kernels.FORWARD_TILES, triton_kernels.BACKWARD_TILES
    tile = tiles[direction == 'backward_step'][number]
    launch(triton_kernels.TritonKernels(tile, tf32=True), torch.bfloat16)
    compiled = recorders[direction].compile()
    ptx = compiled.asm['ptx']
    assert ('wgmma' if tile.pixels >= 64 else 'mma.sync') in ptx
    assert 'cp.async.cg' in ptx
    assert compiled.metadata.shared <= SHARED


@pytest.mark.parametrize(
    ('dtype', 'tf32'),
    [(torch.float16, True), (torch.float32, True), (torch.float32, False), (torch.float64, True)],
    ids=str,
)
def test_dtypes_and_options(recorders, dtype, tf32):
    launch(triton_kernels.TritonKernels(triton_kernels.FORWARD_TILES[2], tf32), dtype, **ALL)
    for recorder in recorders.values():
        compiled = recorder.compile()
        assert compiled.metadata.shared <= SHARED
        assert ('tf32' in compiled.asm['ptx']) == (dtype == torch.float32 and tf32)


@pytest.mark.parametrize('hidden', [1, 20])
def test_channels_that_fill_no_vector(recorders, hidden):
    tile = triton_kernels.FORWARD_TILES[4]
    launch(triton_kernels.TritonKernels(tile, tf32=True), torch.bfloat16, hidden=hidden)
    for recorder in recorders.values():
        recorder.compile()


@pytest.mark.parametrize('reverse', [False, True])
def test_a_launch_of_all_steps_waits_for_all_programs(recorders, reverse):
    tile = triton_kernels.FORWARD_TILES[3]
    kernels = triton_kernels.PersistentKernels(tile, tf32=True, programs=132)
    launch(kernels, torch.bfloat16, reverse=reverse, **ALL)
    for recorder in recorders.values():
        compiled = recorder.compile()
        ptx = compiled.asm['ptx']
        assert recorder.launches == 1
        assert compiled.metadata.launch_cooperative_grid and compiled.metadata.shared <= SHARED
        assert 'cp.async.cg' in ptx
        # All threads have stored; one releases, one acquires until all have; the others follow.
        before, waits = ptx.split('.global.gpu.release.add')
        polled, entered = waits.split('.global.gpu.acquire')
        assert 'bar.sync' in before[before.rindex('st.global') :]
        assert 'ld.global' not in polled and 'cp.async' not in polled
        assert 'bar.sync' in entered
