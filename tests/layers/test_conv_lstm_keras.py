"""ConvLSTM against Keras's ConvLSTM2D: outputs, gradients, parameter counts."""

import os

import pytest
import torch

os.environ.setdefault('KERAS_BACKEND', 'torch')
keras = pytest.importorskip('keras')
from cnnlstm_mm.layers import ConvLSTM

if keras.backend.backend() != 'torch':
    pytest.skip('Keras runs on another backend', allow_module_level=True)

CASES = {
    'valid': dict(padding='valid'),
    'same': dict(padding='same'),
    'stride2_same': dict(padding='same', stride=2),
    'stride2_valid': dict(padding='valid', stride=2),
    'dilation_same': dict(padding='same', dilation=2),
    'dilation_valid': dict(padding='valid', dilation=2),
    'hard_sigmoid': dict(padding='same', recurrent_activation='hard_sigmoid'),
    'relu': dict(padding='same', activation='relu', forget_bias=-1.0),
    'kernel5x2': dict(padding='same', kernel_size=(5, 2)),
    'kernel1': dict(padding='same', kernel_size=1),
    'no_bias': dict(padding='same', bias=False),
    'backwards': dict(padding='valid', go_backwards=True),
}


def twins(options, inputs=5, hidden=4):
    """Our layer and Keras's with the same weights."""
    layer = ConvLSTM(inputs, hidden, **options)
    theirs = keras.layers.ConvLSTM2D(
        hidden,
        layer.kernel_size,
        strides=layer.stride,
        padding=layer.padding,
        dilation_rate=layer.dilation,
        use_bias=layer.bias,
        activation=layer.activation,
        recurrent_activation=layer.recurrent_activation,
        go_backwards=layer.go_backwards,
        data_format='channels_first',
        return_sequences=True,
        return_state=True,
    )
    theirs.build((2, 4, inputs, 9, 8))
    with torch.no_grad():
        for ours, weight in zip(layer.parameters(), theirs.trainable_weights):
            ours.add_(torch.randn_like(ours) * 0.1)
            weight.assign(ours.permute(2, 3, 1, 0) if ours.dim() == 4 else ours)
    return layer, theirs


def close(a, b, relative=1e-5):
    assert a.shape == b.shape
    assert (a - b).norm() <= relative * b.norm()


@pytest.mark.parametrize('with_state', [False, True], ids=['zeros', 'state'])
@pytest.mark.parametrize('name', CASES)
def test_equals_keras(name, with_state):
    torch.manual_seed(0)
    layer, theirs = twins(CASES[name])
    assert sum(p.numel() for p in layer.parameters()) == theirs.count_params()
    x = torch.randn(2, 4, 5, 9, 8, requires_grad=True)
    state = (
        [torch.randn(2, 4, *layer.output_size((9, 8)), requires_grad=True) for _ in range(2)]
        if with_state
        else []
    )

    output, (h, c) = layer(x, tuple(s[None] for s in state) or None)
    got = (output, h[0], c[0])
    want = theirs(x, initial_state=state or None)
    projections = [torch.randn(o.shape) for o in got]
    for a, b in zip(got, want):
        close(a, b)

    inputs = [x, *state]
    loss, loss_theirs = (
        sum((o * p).sum() for o, p in zip(outputs, projections)) for outputs in (got, want)
    )
    ours_grads = torch.autograd.grad(loss, [*inputs, *layer.parameters()])
    their_grads = torch.autograd.grad(
        loss_theirs, [*inputs, *(w.value for w in theirs.trainable_weights)]
    )
    for a, b in zip(ours_grads, their_grads):
        close(a, b.permute(3, 2, 0, 1) if b.dim() == 4 and b.shape[-1] == 16 else b)


def test_initial_values_have_keras_spread():
    torch.manual_seed(0)
    layer = ConvLSTM(5, 4, (3, 2))
    theirs = keras.layers.ConvLSTM2D(4, (3, 2), data_format='channels_first')
    theirs.build((2, 4, 5, 9, 8))
    kernel, recurrent, bias = (w.value.detach() for w in theirs.trainable_weights)
    assert layer.weight_ih_l0.abs().max().item() == pytest.approx(
        kernel.abs().max().item(), rel=0.05
    )
    flat = recurrent.reshape(-1, recurrent.shape[-1])
    close(flat.T @ flat, torch.eye(16), 1e-4)
    ours = layer.weight_hh_l0.detach().permute(2, 3, 1, 0).reshape(flat.shape)
    close(ours.T @ ours, torch.eye(16), 1e-4)
    assert torch.equal(layer.bias_l0, bias)
