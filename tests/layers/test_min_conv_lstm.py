"""MinConvLSTM against a slow loop, single samples, single steps and finite differences."""

import pytest
import torch
import torch.nn.functional as F

from cnnlstm_mm.layers import MinConvLSTM

OPTIONS = [
    dict(),
    dict(candidate='tanh', bias=False),
    dict(gate_conv='depthwise'),
    dict(num_layers=2, bidirectional=True),
    dict(hidden_channels=[3, 2]),
    dict(padding='valid', stride=2, kernel_size=(3, 2)),
    dict(dilation=2, kernel_size=3),
]


def slow(layer, x, h=None):
    """One sample [T, C, H, W], one pixel, channel and step after the other; one layer."""
    outputs = []
    for direction in range(layer.directions):

        def get(name):
            return getattr(layer, name + '_l0' + ('_reverse' if direction else ''), None)

        frames, out = list(x), []
        for frame in reversed(frames) if direction else frames:
            pads = []
            for size, k, s, d in zip(
                (frame.shape[-1], frame.shape[-2]),
                layer.kernel_size[::-1],
                layer.stride[::-1],
                layer.dilation[::-1],
            ):
                need = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
                pads += [need // 2, need - need // 2]
            frame = F.pad(frame, pads) if layer.padding == 'same' else frame
            if layer.gate_conv == 'depthwise':
                z = F.conv2d(
                    frame, get('depth_ih'), None, layer.stride, 0, layer.dilation, len(frame)
                )
                z = F.conv2d(z, get('weight_ih'), get('bias'))
            else:
                z = F.conv2d(frame, get('weight_ih'), get('bias'), layer.stride, 0, layer.dilation)
            i, f, g = z.chunk(3)
            i, f = torch.sigmoid(i), torch.sigmoid(f)
            g = torch.tanh(g) if layer.candidate == 'tanh' else g
            before = torch.zeros_like(g) if not out else out[-1]
            if not out and h is not None:
                before = h[direction]
            out.append(f / (f + i) * before + i / (f + i) * g)
        outputs.append(torch.stack(out[::-1] if direction else out))
    return torch.cat(outputs, 1)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize(
    'options', [o for o in OPTIONS if not {'num_layers', 'hidden_channels'} & o.keys()]
)
def test_equals_the_slow_loop(options, fused):
    layer = MinConvLSTM(3, 4, **options, fused=fused).double()
    x = torch.randn(2, 5, 3, 7, 6, dtype=torch.double)
    h = torch.randn(1, 2, 4, *layer.output_size((7, 6)), dtype=torch.double)
    output, last = layer(x, h)
    for n in range(2):
        expected = slow(layer, x[n], h[:, n])
        torch.testing.assert_close(output[n], expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(last[0, n], expected[-1], atol=1e-12, rtol=0)


@pytest.mark.parametrize('options', OPTIONS)
def test_gradients(options):
    layer = MinConvLSTM(2, **dict(hidden_channels=2) | options).double()
    x = torch.randn(2, 3, 2, 5, 6, dtype=torch.double, requires_grad=True)
    shape = (*layer.states.shape(2), *layer.output_size((5, 6)))
    h = torch.randn(shape, dtype=torch.double, requires_grad=True)
    lengths = torch.tensor([3, 2])

    def run(x, h, *_):
        return layer(x, h, lengths)

    assert torch.autograd.gradcheck(run, (x, h, *layer.parameters()), fast_mode=True)


def test_second_derivatives_without_fused_operators():
    layer = MinConvLSTM(1, 2, fused=False).double()
    x = torch.randn(1, 3, 1, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], (x,), fast_mode=True)


def test_second_derivatives_of_the_fused_are_refused():
    layer = MinConvLSTM(1, 2)
    x = torch.randn(1, 3, 1, 3, 3, requires_grad=True)
    (dx,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='fused=False'):
        dx.sum().backward()


@pytest.mark.parametrize('options', OPTIONS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_steps_and_chunks_equal_the_scan(options, dtype):
    if options.get('bidirectional'):
        options = dict(options, bidirectional=False)
    layer = MinConvLSTM(3, **dict(hidden_channels=4) | options).to(dtype)
    x = torch.randn(2, 7, 3, 7, 6, dtype=dtype)
    whole, last = layer(x)
    for size in (1, 3):
        h, parts = None, []
        for chunk in x.split(size, 1):
            output, h = layer(chunk, h)
            parts.append(output)
        bound = dict(atol=1e-6 if dtype == torch.float32 else 1e-2, rtol=0)
        torch.testing.assert_close(torch.cat(parts, 1), whole, **bound)
        torch.testing.assert_close(h, last, **bound)


@pytest.mark.parametrize('options', OPTIONS)
def test_padded_batches_equal_single_samples(options):
    layer = MinConvLSTM(3, **dict(hidden_channels=4) | options).double()
    x = torch.randn(3, 5, 3, 7, 6, dtype=torch.double)
    lengths = torch.tensor([2, 5, 3])
    padded = x.clone()
    for n, length in enumerate(lengths):
        padded[n, length:] = float('nan')
    output, h = layer(padded, None, lengths)
    for n, length in enumerate(lengths):
        alone, h_alone = layer(x[n : n + 1, :length])
        torch.testing.assert_close(output[n, :length], alone[0], atol=1e-12, rtol=0)
        torch.testing.assert_close(h[:, n], h_alone[:, 0], atol=1e-12, rtol=0)
        assert not output[n, length:].any()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_stable_over_10_000_steps(dtype):
    torch.manual_seed(0)
    layer = MinConvLSTM(2, 4, 1, forget_bias=6.0).to(dtype)
    x = torch.randn(1, 10_000, 2, 1, 1).to(dtype)
    output, _h = layer(x)
    exact = MinConvLSTM(2, 4, 1).double()
    exact.load_state_dict(layer.state_dict())
    expected, _ = exact(x.double())
    assert output.isfinite().all()
    # The error of single pre-activations, which the recurrence must not build up.
    bound = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2}[dtype]
    errors = (output.double() - expected).abs().amax((0, 2, 3, 4))
    assert errors.max() < bound
    assert errors[-1000:].max() < 2 * errors[1000:2000].max()


def test_state_is_float32_under_autocast():
    layer = MinConvLSTM(2, 4)
    with torch.autocast('cpu', torch.bfloat16):
        output, h = layer(torch.randn(1, 3, 2, 4, 4))
    assert output.dtype == torch.bfloat16 and h.dtype == torch.float32


def test_vmap_compile_and_empty_batch():
    layer = MinConvLSTM(2, 3)
    x = torch.randn(4, 3, 2, 5, 5)
    expected, _ = layer(x)
    mapped, _ = torch.func.vmap(lambda x: layer(x[None]))(x)
    torch.testing.assert_close(mapped[:, 0], expected, atol=1e-6, rtol=0)
    empty = torch.zeros(0, 3, 2, 5, 5, requires_grad=True)
    layer(empty)[0].sum().backward()
    assert empty.grad.shape == empty.shape


def test_options_and_shapes_are_checked():
    with pytest.raises(ValueError, match="'linear', 'tanh'"):
        MinConvLSTM(2, 3, candidate='relu')
    layer = MinConvLSTM(2, 3)
    with pytest.raises(ValueError, match='in_channels=5'):
        layer(torch.zeros(1, 2, 5, 4, 4))
    with pytest.raises(ValueError, match=r'expected \(h\)'):
        layer(torch.zeros(1, 2, 2, 4, 4), torch.zeros(1, 1, 3, 5, 4))


def test_multiply_adds():
    assert MinConvLSTM(5, 4).multiply_adds((6, 7)) == 3 * 4 * 5 * 9 * 42
    assert MinConvLSTM(5, 4, gate_conv='depthwise').multiply_adds((6, 7)) == 5 * (9 + 12) * 42


@pytest.mark.parametrize('gate_conv', ['full', 'depthwise'])
def test_an_empty_batch_and_flat_weights(gate_conv):
    layer = MinConvLSTM(2, 3, gate_conv=gate_conv).to(memory_format=torch.channels_last)
    empty = torch.zeros(0, 3, 2, 5, 5, requires_grad=True)
    layer(empty)[0].sum().backward()
    assert empty.grad.shape == empty.shape
    assert torch.nn.utils.parameters_to_vector(layer.parameters()).dim() == 1


def test_scripting_is_refused():
    with pytest.raises(RuntimeError, match=r'got MinConvLSTM in torch\.jit\.script.*torch\.export'):
        torch.jit.script(MinConvLSTM(2, 3))
