"""ConvLSTM where PyTorch users take it: autocast, compile, export, func, DDP,
pickles, odd shapes."""

import copy
import io
import pickle

import pytest
import torch
from helpers.conv_lstm_reference import reference
from helpers.support import in_a_fork

from cnnlstm_mm.layers import ConvLSTM

GATES = ['full', 'depthwise', 'pooled']


@pytest.fixture
def clip():
    torch.manual_seed(0)
    return torch.randn(2, 4, 3, 6, 5)


def close(a, b, relative=1e-6):
    assert a.shape == b.shape
    assert (a.float() - b.float()).norm() <= relative * b.float().norm()


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(num_layers=2, bidirectional=True, peephole=True),
        dict(norm=True),
        dict(gate_conv='depthwise'),
        dict(gate_conv='pooled'),
    ],
)
def test_chunks_and_single_steps_equal_the_clip(options, clip):
    layer = ConvLSTM(3, 4, **{**options, 'bidirectional': False})
    with torch.no_grad():
        whole, (h, c) = layer(clip)
        for cuts in ([1, 1, 1, 1], [3, 1]):
            state, outputs = None, []
            for chunk in clip.split(cuts, 1):
                output, state = layer(chunk, state)
                outputs.append(output)
            close(torch.cat(outputs, 1), whole)
            close(state[0], h)
            close(state[1], c)


def test_single_step_with_many_channels_equals_the_clip():
    torch.manual_seed(0)
    layer, x = ConvLSTM(512, 96), torch.randn(1, 3, 512, 7, 7)
    with torch.no_grad():
        whole, state = layer(x)[0], None
        for t in range(3):
            output, state = layer(x[:, t : t + 1], state)
            close(output, whole[:, t : t + 1])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(peephole=(2, 2)),
        dict(norm=True),
        dict(gate_conv='depthwise'),
        dict(gate_conv='pooled'),
        dict(fused=False),
    ],
    ids=str,
)
def test_autocast(options, dtype, clip):
    layer, clip = ConvLSTM(3, 4, **options), clip.requires_grad_()
    want, (_, want_c) = layer(clip)
    (want_grad,) = torch.autograd.grad(want.sum() + want_c.sum(), clip)
    with torch.autocast('cpu', dtype):
        half = layer(clip[:, :2])
        output, (h, c) = layer(clip[:, 2:], half[1])
    assert (output.dtype, h.dtype, c.dtype) == (dtype, dtype, torch.float32)
    close(torch.cat([half[0], output], 1), want, 2e-2)
    close(c, want_c, 2e-2)
    (grad,) = torch.autograd.grad(output.float().sum() + half[0].float().sum() + c.sum(), clip)
    close(grad, want_grad, 5e-2)


@pytest.mark.parametrize('frames', [4, 9])
@pytest.mark.parametrize('reverse', [False, True])
def test_gradients_of_long_clips_under_autocast(frames, reverse):
    """Cell states between those that are kept are computed again."""
    layer = ConvLSTM(3, 4, go_backwards=reverse)
    x = torch.randn(2, frames, 3, 6, 5, requires_grad=True)
    grads = []
    for layer.fused in (True, False):
        with torch.autocast('cpu', torch.bfloat16):
            output, (_, c) = layer(x)
        loss = output.float().square().sum() + c.square().sum()
        grads.append(torch.autograd.grad(loss, [x, *layer.parameters()]))
    for got, want in zip(*grads):
        assert (got - want).norm() < 2e-2 * want.norm()


def test_weight_gradients_of_many_chunks_in_bfloat16(monkeypatch):
    """Their sum is taken in float32."""
    monkeypatch.setattr('cnnlstm_mm.layers.separable.CHUNK', 1)
    layer = ConvLSTM(3, 4, gate_conv='depthwise').bfloat16()
    exact = copy.deepcopy(layer).double()
    exact.fused = False
    x = torch.rand(16, 16, 3, 6, 5).bfloat16()
    grads = []
    for one in (layer, exact):
        output = one(x.to(one.weight_ih_l0.dtype))[0]
        output.backward(torch.ones_like(output))
        grads.append(one.weight_ih_l0.grad.double())
    assert (grads[0] - grads[1]).norm() < 1e-2 * grads[1].norm()


@pytest.mark.parametrize('gate_conv', GATES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_layer_in_another_dtype(dtype, gate_conv, clip):
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    want = layer(clip)[0]
    want.sum().backward()
    grads = [p.grad for p in layer.parameters()]
    layer.zero_grad()
    output, (h, c) = layer.to(dtype)(clip.to(dtype))
    assert output.dtype == h.dtype == c.dtype == dtype
    close(output, want, 2e-2 if dtype == torch.bfloat16 else 1e-6)
    output.sum().backward()
    for parameter, grad in zip(layer.parameters(), grads):
        close(parameter.grad, grad, 5e-2 if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize('gate_conv', GATES)
@pytest.mark.parametrize('large', [False, True])
def test_channels_last(clip, large, gate_conv, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.layers.dispatch.STEPWISE', 0 if large else 1 << 40)
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    want = layer(clip)[0]
    want.sum().backward()
    grads = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    layer.to(memory_format=torch.channels_last)
    x = (
        clip.flatten(0, 1)
        .contiguous(memory_format=torch.channels_last)
        .unflatten(0, clip.shape[:2])
    )
    got = layer(x)[0]
    got.sum().backward()
    close(got, want)
    for a, b in zip((p.grad for p in layer.parameters()), grads):
        close(a, b, 1e-5)


@pytest.mark.parametrize('gate_conv', GATES)
def test_x_out_of_order_in_memory(clip, gate_conv):
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    x = clip.transpose(1, 2).contiguous().transpose(1, 2)
    close(layer(x)[0], layer(clip)[0])


@pytest.mark.slow
@pytest.mark.parametrize('gate_conv', GATES)
@pytest.mark.parametrize('lengths', [None, [4, 2]])
def test_compiled_model(clip, lengths, gate_conv):
    lstm = ConvLSTM(3, 4, gate_conv=gate_conv)
    model = torch.nn.ModuleDict(dict(conv=torch.nn.Conv2d(3, 3, 1), lstm=lstm))

    def run(x):
        y = model['conv'](x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return model['lstm'](y, None, lengths)[0].square().mean()

    want = run(clip)
    want_grads = torch.autograd.grad(want, list(model.parameters()))
    compiled = torch.compile(run, backend='aot_eager', fullgraph=lengths is None)
    got = compiled(clip)
    close(got, want)
    for a, b in zip(torch.autograd.grad(got, list(model.parameters())), want_grads):
        close(a, b, 1e-5)


@pytest.mark.parametrize('what', ['gates', 'frames', 'depthwise', 'pooled'])
def test_operator_declares_what_it_returns(what):
    light = dict(gate_conv=what) if what in ('depthwise', 'pooled') else {}
    layer = ConvLSTM(3, 2, **light).double()
    inputs = 3 if what == 'frames' else 8
    x = torch.randn(2, 3, inputs, 4, 3, dtype=torch.float64, requires_grad=True)
    c = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_l0)
    if what != 'frames':
        weights = None, layer.weight_hh_l0, None
    light_hh = getattr(layer, 'depth_hh_l0' if what == 'depthwise' else 'gate_hh_l0', None)
    options = None, None, False, False, None, [1, 1, 1, 1], [1, 1], [1, 1], light_hh
    torch.library.opcheck(
        torch.ops.cnnlstm_mm.conv_lstm.default,
        (x, *weights, None, c, True, *options),
        test_utils=('test_schema', 'test_autograd_registration', 'test_faketensor'),
    )


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('need_dx', [False, True])
def test_separable_operator_declares_what_it_returns(bias, need_dx):
    shapes = (3, 4, 6, 5), (4, 1, 2, 3), (6, 4, 1, 1), (6,)
    x, *weights = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    weights = [w.requires_grad_() for w in weights]
    geometry = [1, 1, 0, 1], [2, 1], [1, 1]
    arguments = x.requires_grad_(need_dx), *weights[:2], weights[2] if bias else None, *geometry
    tests = (
        'test_schema',
        'test_autograd_registration',
        'test_faketensor',
        'test_aot_dispatch_static',
    )
    torch.library.opcheck(torch.ops.cnnlstm_mm.separable.default, arguments, test_utils=tests)


@pytest.mark.parametrize('gate_conv', GATES)
def test_export(clip, gate_conv):
    layer = ConvLSTM(3, 4, num_layers=2, gate_conv=gate_conv).eval()
    program = torch.export.export(layer, (clip,))
    close(program.module()(clip)[0], layer(clip)[0])
    assert not any(
        'conv_lstm' in str(node.target)
        for node in program.graph.nodes
        if node.op == 'call_function'
    )


@pytest.mark.parametrize('gate_conv', GATES)
def test_trace(clip, gate_conv):
    layer = ConvLSTM(3, 4, gate_conv=gate_conv).eval()
    close(torch.jit.trace(layer, clip)(clip)[0], layer(clip)[0])


def test_script_names_the_alternative():
    with pytest.raises(RuntimeError, match='fix: use torch.export or torch.compile') as caught:
        torch.jit.script(torch.nn.Sequential(ConvLSTM(3, 4)))
    assert 'trace would fix the number of steps' in str(caught.value)


@pytest.mark.parametrize('gate_conv', GATES)
def test_func_equals_autograd(clip, gate_conv):
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    parameters = {k: v.detach() for k, v in layer.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    got = torch.func.grad(loss)(parameters, clip)
    want = torch.autograd.grad(layer(clip)[0].square().sum(), list(layer.parameters()))
    for a, b in zip(got.values(), want):
        close(a, b, 1e-5)
    per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, clip[:, None])
    close(per_sample['weight_hh_l0'].sum(0), got['weight_hh_l0'], 1e-5)


@pytest.mark.parametrize('gate_conv', GATES)
def test_second_derivative_is_refused_or_right(gate_conv):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    fused = ConvLSTM(1, 1, gate_conv=gate_conv).double()
    (grad,) = torch.autograd.grad(fused(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='fused=False|once_differentiable'):
        grad.sum().backward()
    plain = ConvLSTM(1, 1, gate_conv=gate_conv, fused=False).double()
    assert torch.autograd.gradgradcheck(lambda x: plain(x)[0], (x,), fast_mode=True)


def test_every_parameter_gets_a_gradient_at_the_first_step():
    options = dict(num_layers=2, bidirectional=True)
    for extra in (
        {},
        dict(peephole=True),
        dict(norm=True),
        dict(gate_conv='depthwise'),
        dict(gate_conv='pooled'),
    ):
        layer = ConvLSTM(3, 4, **options, **extra)
        layer(torch.randn(2, 1, 3, 4, 4))[0].sum().backward()
        assert not [name for name, p in layer.named_parameters() if p.grad is None]


@pytest.mark.parametrize('gate_conv', GATES)
def test_distributed_data_parallel(clip, gate_conv, tmp_path):
    in_a_fork(check_distributed_data_parallel, clip, gate_conv, tmp_path)


def check_distributed_data_parallel(clip, gate_conv, tmp_path):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        model = torch.nn.parallel.DistributedDataParallel(
            ConvLSTM(3, 4, peephole=True, gate_conv=gate_conv)
        )
        for _ in range(2):
            model(clip)[0].sum().backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    'copier', [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=['deepcopy', 'pickle']
)
@pytest.mark.parametrize('options', [{}, dict(norm=True), dict(gate_conv='pooled')], ids=str)
def test_copies(clip, copier, options):
    layer = ConvLSTM(3, 4, **options)
    layer(clip)[0].sum().backward()
    close(copier(layer)(clip)[0], layer(clip)[0])


def test_state_dict_is_stable():
    keys = ['weight_ih_l0', 'weight_hh_l0', 'bias_l0', 'weight_ih_l1', 'weight_hh_l1', 'bias_l1']
    for options in (
        {},
        dict(padding='valid', stride=2),
        dict(dropout=0.1, recurrent_dropout=0.1),
        dict(go_backwards=True),
        dict(recurrent_activation='hard_sigmoid'),
        dict(dilation=2, fused=False),
    ):
        assert list(ConvLSTM(3, 4, num_layers=2, **options).state_dict()) == keys
    file = io.BytesIO()
    torch.save(ConvLSTM(3, 4, num_layers=2).state_dict(), file)
    file.seek(0)
    ConvLSTM(3, 4, num_layers=2, go_backwards=True).load_state_dict(
        torch.load(file, weights_only=True)
    )


def test_peephole_map_on_another_size(clip):
    layer = ConvLSTM(3, 4, peephole=(6, 5))
    torch.nn.init.normal_(layer.peephole_l0)
    for x in (clip, torch.randn(2, 3, 3, 9, 7)):
        close(layer(x)[0], reference(layer, x)[0])


def test_dropout_only_in_training(clip):
    layer = ConvLSTM(3, 4, dropout=0.5, recurrent_dropout=0.5)
    assert not torch.equal(layer(clip)[0], layer(clip)[0])
    layer.eval()
    close(layer(clip)[0], reference(layer, clip)[0])


@pytest.mark.parametrize('fused', [True, False])
def test_dropout_takes_one_mask_for_all_frames(fused):
    """What is dropped has no gradient."""
    layer = ConvLSTM(3, 4, dropout=0.4, fused=fused).train()
    x = torch.randn(2, 5, 3, 8, 8, requires_grad=True)
    layer(x)[0].square().sum().backward()
    dropped = x.grad == 0
    assert (dropped == dropped[:, :1]).all() and (dropped[0] != dropped[1]).any()
    assert 0.3 < dropped.float().mean() < 0.5


@pytest.mark.parametrize('gate_conv', GATES)
def test_padded_frames_may_hold_anything(clip, gate_conv):
    layer = ConvLSTM(3, 4, bidirectional=True, gate_conv=gate_conv)
    lengths = torch.tensor([2, 4])
    dirty = clip.clone()
    dirty[0, 2:] = float('nan')
    results = []
    for x in (clip, dirty):
        x.requires_grad_()
        output, (h, c) = layer(x, None, lengths)
        results.append(
            (output, h, c, *torch.autograd.grad(output.sum() + c.sum(), [x, *layer.parameters()]))
        )
    for a, b in zip(*results):
        assert torch.equal(a, b)
    assert not results[0][0][0, 2:].any() and not results[0][3][0, 2:].any()


@pytest.mark.slow
@pytest.mark.parametrize('lengths', [None, []])
@pytest.mark.parametrize('frames', [1, 3])
@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(peephole=True, bidirectional=True),
        dict(padding='valid', kernel_size=(2, 3)),
        dict(norm=True),
        dict(gate_conv='depthwise'),
        dict(gate_conv='pooled'),
    ],
    ids=str,
)
@pytest.mark.parametrize('width', [4, 256])
def test_no_samples(width, options, autocast, frames, lengths):
    """As nn.LSTM: empty outputs, zero gradients."""
    layer = ConvLSTM(width, width, **options)
    x = torch.randn(0, frames, width, 7, 7, requires_grad=True)
    lengths = None if lengths is None else torch.tensor(lengths, dtype=torch.long)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        output, (h, c) = layer(x, None, lengths)
    size = layer.output_size((7, 7))
    assert output.shape == (0, frames, layer.directions * width, *size)
    assert h.shape == c.shape == (layer.directions, 0, width, *size)
    (output.float().sum() + c.sum()).backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in layer.parameters())


def test_no_frames():
    with pytest.raises(ValueError, match='no frames'):
        ConvLSTM(3, 4)(torch.randn(2, 0, 3, 4, 4))


@pytest.mark.parametrize(
    'options, x, state, match',
    [
        ({}, (2, 3, 4, 4), None, r'\[N, T, C, H, W\]'),
        ({}, (2, 4, 5, 6, 6), None, 'in_channels=5'),
        (dict(padding='valid'), (2, 4, 3, 2, 6), None, "padding='same'"),
        ({}, (2, 4, 3, 6, 6), (2, 4, 6, 6), r'\[1, 2, 4, 6, 6\]'),
    ],
)
def test_shapes_that_do_not_fit(options, x, state, match):
    state = None if state is None else (torch.zeros(state),) * 2
    with pytest.raises(ValueError, match=match):
        ConvLSTM(3, 4, **options)(torch.zeros(x), state)


@pytest.mark.parametrize('lengths', [[4], [0, 4], [4, 5], [1.0, 2.0]])
def test_lengths_that_do_not_fit(clip, lengths):
    with pytest.raises(ValueError, match='lengths'):
        ConvLSTM(3, 4)(clip, None, torch.tensor(lengths))


@pytest.mark.parametrize(
    'options',
    [
        dict(padding='full'),
        dict(gate_conv='half'),
        dict(recurrent_activation='relu'),
        dict(kernel_size=0),
        dict(stride=(1, 2, 3)),
        dict(dropout=1.0),
        dict(norm=True, gate_conv='pooled'),
    ],
    ids=str,
)
def test_options_that_do_not_exist(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ConvLSTM(3, 4, **options)


def test_initial_values():
    torch.manual_seed(0)
    layer = ConvLSTM(6, 5, (3, 1), num_layers=2)
    limit = (6 / (3 * (6 + 20))) ** 0.5
    assert 0.9 * limit < layer.weight_ih_l0.abs().max() <= limit
    flat = layer.weight_hh_l1.movedim((2, 3), (0, 1)).movedim(3, 2).reshape(15, 20)
    close(flat @ flat.T, torch.eye(15), 1e-5)
    assert layer.bias_l1.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10


@pytest.mark.parametrize('gate_conv', GATES)
def test_operator_is_what_runs(clip, gate_conv, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.layers.conv_lstm.loop', None)
    options = dict(num_layers=2, bidirectional=True, peephole=True, gate_conv=gate_conv)
    assert ConvLSTM(3, 4, **options)(clip)[0].shape == (2, 4, 8, 6, 5)


@pytest.mark.parametrize('gate_conv', GATES[1:])
def test_light_gates_take_the_plain_loop_on_cuda(clip, gate_conv, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.layers.gpu.runs', lambda c0: True)
    monkeypatch.setattr('cnnlstm_mm.layers.conv_lstm.run_operator', None)
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    close(layer(clip)[0], reference(layer, clip)[0])


def kept_bytes(layer, x):
    """What backward needs beyond x, the parameters and the output."""
    kept = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = layer(x)[0]
    for t in (x, output, *layer.parameters()):
        kept.pop(t.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@pytest.mark.parametrize('autocast, ours, plain', [(False, 16, 28), (True, 9, 18)])
def test_bytes_kept_a_step_and_value(autocast, ours, plain):
    """i, f, g, o, under autocast every fourth c; autograd over the plain loop: c, tanh(c), h, too."""
    layer, values = ConvLSTM(3, 4), 2 * 4 * 30
    for layer.fused, want in ((True, ours), (False, plain)):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            few, many = (kept_bytes(layer, torch.randn(2, t, 3, 6, 5)) for t in (16, 32))
        narrow = 16 * 2 * 3 * 30 * 2 if autocast else 0  # x in bfloat16
        assert many - few - narrow == 16 * values * want


@pytest.mark.parametrize('narrow', [torch.bfloat16, torch.float16])
def test_gates_are_kept_in_float16_under_autocast(narrow):
    """In [-1, 1] it has three bits more than bfloat16."""
    layer, dtypes = ConvLSTM(3, 4), set()

    def pack(t):
        if t.shape[1] == 16 and t.dim() == 4 and t.shape[2:] == (6, 5):
            dtypes.add(t.dtype)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        with torch.autocast('cpu', narrow):
            layer(torch.randn(2, 3, 3, 6, 5))
    assert dtypes == {torch.float16}


@pytest.mark.parametrize('gate', [1e-7, 3e-7, 1e-6, 1e-5, 1e-2, 0.5, 0.9])
@pytest.mark.parametrize('activation', ['sigmoid', 'hard_sigmoid'])
@pytest.mark.parametrize('gate_conv', GATES)
def test_gradients_at_small_gates(gate_conv, activation, gate):
    """One cell, against the derivatives by hand in float64."""
    layer = ConvLSTM(1, 1, 1, recurrent_activation=activation, gate_conv=gate_conv)
    hard = activation == 'hard_sigmoid'
    value = torch.tensor(gate, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
        layer.weight_hh_l0.zero_()
        layer.bias_l0.copy_(torch.tensor([6 * value - 3 if hard else value.logit(), 0.4, 0.7, 0.3]))
    before = torch.full((1, 1, 1, 1, 1), 3.0)
    h = layer(torch.zeros(1, 1, 1, 1, 1), (torch.zeros_like(before), before))[0]
    (got,) = torch.autograd.grad(h.sum(), layer.bias_l0)

    z_i, z_f, z_g, z_o = layer.bias_l0.detach().double()
    i, f, o = (((z + 3) / 6 if hard else z.sigmoid()) for z in (z_i, z_f, z_o))
    g, tanh_c = z_g.tanh(), (f * 3 + i * z_g.tanh()).tanh()
    s_i, s_f, s_o = (torch.tensor(1 / 6) if hard else s * (1 - s) for s in (i, f, o))
    dc = o * (1 - tanh_c**2)
    want = dc * g * s_i, dc * 3 * s_f, dc * i * (1 - g**2), tanh_c * s_o
    for a, b in zip(got.double(), want):
        assert (a - b).abs() <= 2e-5 * b.abs()


@pytest.mark.parametrize('gate_conv', GATES)
@pytest.mark.parametrize('activation', ['sigmoid', 'hard_sigmoid'])
@pytest.mark.parametrize('size', [5, 9], ids=['small', 'large'])
def test_training_and_evaluation_give_the_same_bits(activation, size, gate_conv, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.layers.dispatch.STEPWISE', 2 * 16 * 81)
    layer = ConvLSTM(3, 4, recurrent_activation=activation, peephole=True, gate_conv=gate_conv)
    x = torch.randn(2, 6, 3, size, size)
    x[:, :2] = 0
    x[0, 2] *= 1e-30  # cell states at the end of the range
    output, (h, c) = layer(x)
    with torch.inference_mode():
        again, (h_again, c_again) = layer.eval()(x)
    for a, b in ((output, again), (h, h_again), (c, c_again)):
        assert torch.equal(a, b)


@pytest.mark.parametrize('gate_conv', GATES)
@pytest.mark.parametrize('activation', ['sigmoid', 'hard_sigmoid'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_gradients_where_cells_and_gates_are_zero(activation, dtype, gate_conv):
    torch.manual_seed(0)
    layer = ConvLSTM(2, 3, recurrent_activation=activation, gate_conv=gate_conv).to(dtype)
    x = torch.randn(2, 6, 2, 5, 4, dtype=dtype)
    x[:, :2] = 0  # no bias: g, and so c, is 0
    x[0] *= 1e3  # gates that are 0 and 1
    x[1, 4:] *= 1e-25
    grads = []
    for layer.fused in (True, False):
        y = x.clone().requires_grad_()
        output, (h, c) = layer(y)
        weights = torch.linspace(-1, 1, output.numel(), dtype=dtype).view_as(output)
        loss = (output * weights).sum() + h.sum() + c.sum()
        grads.append(torch.autograd.grad(loss, [y, *layer.parameters()]))
    for a, b in zip(*grads):
        assert a.isfinite().all()
        close(a, b, 1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize('gate_conv', GATES)
def test_small_gates_over_many_steps(gate_conv):
    """A layer whose gate i is nearly closed, float32 against float64."""
    torch.manual_seed(0)
    layer = ConvLSTM(2, 3, recurrent_activation='hard_sigmoid', gate_conv=gate_conv)
    x = torch.randn(2, 64, 2, 5, 4)
    with torch.no_grad():
        layer.bias_l0[:3] = -2.9
    grads = []
    for model, y in ((layer, x), (copy.deepcopy(layer).double(), x.double())):
        loss = model(y)[0].square().sum()
        grads.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*grads):
        close(a, b, 1e-5)


@pytest.mark.parametrize('gate_conv', GATES)
def test_output_changed_in_place_is_noticed(clip, gate_conv):
    layer = ConvLSTM(3, 4, gate_conv=gate_conv)
    output, _ = layer(clip)
    output.mul_(2)
    with pytest.raises(RuntimeError, match='inplace operation'):
        output.sum().backward()
