"""Which kernels run, and graphs of them, with stand-ins for both."""

import logging
import os
import threading

import pytest
import torch

from cnnlstm_mm.layers import ConvLSTM
from cnnlstm_mm.layers.gpu import kernel_choice
from cnnlstm_mm.layers.gpu.cuda_graphs import CudaGraph, GraphCache, can_replay
from cnnlstm_mm.layers.gpu.kernel_choice import VARIABLE, candidates, run_fastest

cuda = pytest.mark.skipif(
    not torch.cuda.is_available() or os.environ.get('TRITON_INTERPRET') == '1', reason='needs CUDA'
)


class Fake:
    """Kernels that take ``seconds``, and ``replay`` in a graph; or fail."""

    gemm = False

    def __init__(self, name, seconds=1.0, replay=9.0, error=None):
        self.name, self.seconds, self.replay, self.error = name, seconds, replay, error

    def __call__(self, graph):
        if self.error:
            raise self.error
        return self.name, graph


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that reads ``Fake``; no choice is remembered from or for others."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(kernel_choice, '_chosen', {})
    monkeypatch.setattr(kernel_choice, '_left_out', set())
    monkeypatch.setattr(kernel_choice, '_can_measure', lambda: True)

    def seconds(run, kernels, graph):
        run(kernels, graph)
        return kernels.replay if graph else kernels.seconds

    monkeypatch.setattr(kernel_choice, '_seconds', seconds)


def choose(*rivals, key='key', can_replay=False):
    return run_fastest(key, lambda: list(rivals), lambda kernels, graph: kernels(graph), can_replay)


def test_the_fastest_is_chosen_once_for_a_key():
    slow, fast, plain = Fake('gemm', 3), Fake('update', 2), Fake('plain', 1)
    assert choose(slow, fast, plain) == ('update', False)  # plain ones are not measured
    fast.seconds = 5
    assert choose(slow, fast, plain) == ('update', False)
    assert choose(slow, fast, plain, key='another') == ('gemm', False)


def test_a_graph_is_chosen_where_it_is_faster():
    kernels = Fake('gemm', 3, replay=1), Fake('update', 2, replay=1.5), Fake('plain')
    assert choose(*kernels, can_replay=True) == ('update', True)
    assert choose(*kernels, can_replay=False) == ('update', False)
    kernels[1].replay = 2.5
    assert choose(*kernels, key='another', can_replay=True) == ('update', False)


@pytest.mark.parametrize('name', ['gemm', 'persistent', 'update', 'plain'])
def test_one_can_be_forced(name, monkeypatch):
    monkeypatch.setenv(VARIABLE, name)
    others = Fake('persistent', 4), Fake('update', 1), Fake('plain', 0)
    rivals = Fake('gemm', 3), Fake('gemm', 2), *others
    assert choose(*rivals) == (name, False)
    if name == 'gemm':
        rivals[0].seconds = 0
        assert choose(*rivals, key='another') == ('gemm', False)


def test_unknown_name(monkeypatch):
    monkeypatch.setenv(VARIABLE, 'fast')
    with pytest.raises(ValueError, match=f"expected {VARIABLE} to be one of .*got 'fast'; fix:"):
        choose(Fake('plain'))


@pytest.mark.parametrize('forced', [None, 'gemm'])
def test_what_fails_is_left_out_with_one_line(forced, monkeypatch, caplog):
    if forced:
        monkeypatch.setenv(VARIABLE, forced)
    broken = Fake('gemm', error=RuntimeError('no C compiler'))
    with caplog.at_level(logging.WARNING):
        for key in range(3):
            assert choose(broken, broken, Fake('update'), Fake('plain'), key=key)[0] == 'update'
    assert [r.message for r in caplog.records] == [
        'ConvLSTM runs without its gemm kernels: no C compiler'
    ]


def test_persistent_ones_fall_back_on_a_launch_a_step(monkeypatch, caplog):
    monkeypatch.setenv(VARIABLE, 'persistent')
    error = RuntimeError('cooperative launch too large')
    rivals = Fake('gemm', 2), Fake('persistent', 1, error=error), Fake('update', 0), Fake('plain')
    assert choose(*rivals) == ('gemm', False)
    assert 'without its persistent kernels: cooperative launch too large' in caplog.text


def test_persistent_ones_are_measured_for_few_pixels(monkeypatch):
    pytest.importorskip('cnnlstm_mm.layers.gpu.triton_kernels')
    small, large = torch.zeros(2, 3, 7, 7), torch.zeros(3, 2, 32, 32)
    # Not the first: that one runs where nothing may be measured.
    assert [k.name for k in candidates(small, True)][-3:] == ['persistent', 'update', 'plain']
    assert candidates(small, True)[0].name == 'gemm'
    assert 'persistent' not in [k.name for k in candidates(large, False)]
    monkeypatch.setenv(VARIABLE, 'persistent')
    assert 'persistent' in [k.name for k in candidates(large, False)]


def test_plain_ones_run_where_no_other_does_and_raise_their_errors():
    broken = [Fake(name, error=RuntimeError(name)) for name in ('gemm', 'update')]
    assert choose(*broken, Fake('plain')) == ('plain', False)
    with pytest.raises(RuntimeError, match='plain'):
        choose(*broken, Fake('plain', error=RuntimeError('plain')), key='another')


def test_too_little_memory_is_no_reason_for_other_kernels():
    with pytest.raises(torch.OutOfMemoryError):
        choose(Fake('gemm', error=torch.OutOfMemoryError('full')), Fake('plain'))


@pytest.mark.parametrize('cudnn', [False, True])
def test_deterministic_algorithms_measure_nothing(cudnn, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_current_stream_capturing', lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    torch.use_deterministic_algorithms(False)
    assert kernel_choice._can_measure()
    monkeypatch.setattr(kernel_choice, '_chosen', {})
    monkeypatch.setattr(kernel_choice, '_seconds', None)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', cudnn)
    torch.use_deterministic_algorithms(not cudnn)
    try:
        assert choose(Fake('gemm', 3), Fake('update', 1), Fake('plain', 0)) == ('gemm', False)
    finally:
        torch.use_deterministic_algorithms(False)


def test_without_triton(monkeypatch, caplog):
    monkeypatch.setitem(__import__('sys').modules, 'cnnlstm_mm.layers.gpu.triton_kernels', None)
    with caplog.at_level(logging.WARNING):
        assert [k.name for k in candidates(torch.zeros(2, 3, 4, 5), True)] == ['plain']
    assert 'Triton' in caplog.text


@pytest.mark.parametrize('forward', [True, False])
def test_tiles_fit_the_shape(forward):
    ours = pytest.importorskip('cnnlstm_mm.layers.gpu.triton_kernels')
    large = ours.tiles_for((16, 64, 64, 64), 132, forward)
    small = ours.tiles_for((2, 256, 7, 7), 132, forward)
    assert large[0].pixels == 128 and max(t.pixels for t in small) < 128
    for shape in ((0, 4, 5, 5), (1, 1, 1, 1), (2, 256, 7, 7), (64, 512, 56, 56)):
        assert ours.tiles_for(shape, 132, forward)


class Recording:
    """A graph's stand-in: runs the function again on its own inputs."""

    made = 0

    def __init__(self, function, inputs):
        type(self).made += 1
        self.function, self.inputs = function, inputs

    def __call__(self, inputs):
        return self.function(*inputs), [None if t is None else t.shape for t in self.inputs]


def test_graphs_are_recorded_once_for_a_name_and_shapes():
    cache, before = GraphCache(Recording, most=3), Recording.made
    for k in range(2):
        for size in (1, 2):
            x = torch.full((size,), float(k))
            assert cache('double', lambda x, _: 2 * x, (x, None))[0].tolist() == [2.0 * k] * size
    assert Recording.made - before == 2
    for dtype in (torch.float16, torch.float64):
        cache('double', lambda x: x, (torch.zeros(1, dtype=dtype),))
    assert len(cache.graphs) == 3
    cache('double', lambda x, _: x, (torch.zeros(2), None))  # is still there
    assert Recording.made - before == 4
    cache('double', lambda x, _: x, (torch.zeros(1), None))  # is not
    assert Recording.made - before == 5


def test_threads_do_not_mix_their_values():
    kept = torch.zeros(1)

    class Slow(Recording):
        def __call__(self, inputs):
            kept.copy_(inputs[0])
            threading.Event().wait(0.002)
            return kept.clone()

    cache, wrong = GraphCache(Slow), []

    def work(value):
        for _ in range(20):
            if cache('same', None, (torch.tensor([value]),)).item() != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_no_graph_on_a_cpu():
    assert not can_replay((torch.zeros(1), None))


@pytest.mark.gpu
@cuda
def test_graph_gives_new_results_in_memory_of_their_own():
    x = torch.arange(6.0, device='cuda').view(2, 3)
    graph = CudaGraph(lambda x, _: (x + 1, [x @ x.t()]), (x, None))
    first, second = graph((x, None)), graph((2 * x, None))
    for result, value in ((first, x), (second, 2 * x)):
        assert torch.equal(result[0], value + 1) and torch.equal(result[1][0], value @ value.t())
    assert can_replay((x, None)) and not can_replay((x.expand(1 << 22, 2, 3), None))


@pytest.mark.gpu
@cuda
@pytest.mark.parametrize('name', ['update', 'gemm'])
def test_graph_of_a_layer_gives_the_bits_of_its_launches(name, monkeypatch):
    monkeypatch.setenv(VARIABLE, name)
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', True)  # also of weight gradients
    torch.manual_seed(0)
    layer = ConvLSTM(8, 32, peephole=True).cuda()
    x = torch.randn(2, 6, 8, 7, 7, device='cuda', requires_grad=True)
    results = {}
    for faster in (False, True):
        monkeypatch.setattr(kernel_choice, '_chosen', {})
        monkeypatch.setattr(kernel_choice, '_seconds', lambda run, k, graph: graph != faster)
        with torch.inference_mode():
            layer(x)
        for _ in range(3):
            output, (h, c) = layer(x)
            loss = output.square().sum() + h.sum() + c.sum()
            grads = torch.autograd.grad(loss, [x, *layer.parameters()])
        results[faster] = output, h, c, *grads
        assert {graph for _, graph in kernel_choice._chosen.values()} == {faster}
    for a, b in zip(*results.values()):
        assert torch.equal(a, b)
