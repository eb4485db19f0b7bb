"""Weights of the common PyTorch ConvLSTMs: our layer against their published formulas."""

import re

import pytest
import torch
import torch.nn.functional as F
from helpers.support import run_tool

from cnnlstm_mm.layers import load_convlstm
from mmaction.registry import MODELS

INPUTS, SIZES, SIZE = 3, [4, 5], (6, 7)


def draw(*shape):
    return torch.randn(shape) * 0.3


def conv(x, weight, bias=None):
    return F.conv2d(x, weight, bias, padding=tuple(k // 2 for k in weight.shape[2:]))


def joint(name, order='ifog', bias=True, sizes=SIZES, kernel=(3, 5)):
    """One convolution of cat(x, h); the weights, and a step of cell k."""
    state = {}
    for k, (inputs, hidden) in enumerate(zip([INPUTS, *sizes], sizes)):
        state[f'{name.format(k)}.weight'] = draw(4 * hidden, inputs + hidden, *kernel)
        if bias:
            state[f'{name.format(k)}.bias'] = draw(4 * hidden)

    def gates(k, x, h, c):
        weight, bias = (state.get(f'{name.format(k)}.{part}') for part in ('weight', 'bias'))
        chunks = conv(torch.cat([x, h], 1), weight, bias).chunk(4, 1)
        return dict(zip(order, chunks)), dict.fromkeys('ifo', 0)

    return state, gates, sizes


def split():
    """OpenSTL: conv_x and conv_h without a bias, i f g o; conv_o and conv_last are not used."""
    state, sizes = {}, [4, 4]
    for k, (inputs, hidden) in enumerate(zip([INPUTS, *sizes], sizes)):
        cell = f'cell_list.{k}.'
        state[f'{cell}conv_x.0.weight'] = draw(4 * hidden, inputs, 5, 5)
        state[f'{cell}conv_h.0.weight'] = draw(4 * hidden, hidden, 5, 5)
        state[f'{cell}conv_o.0.weight'] = draw(hidden, 2 * hidden, 5, 5)
        state[f'{cell}conv_last.weight'] = draw(hidden, 2 * hidden, 1, 1)
    state['conv_last.weight'] = draw(INPUTS, sizes[-1], 1, 1)

    def gates(k, x, h, c):
        cell = f'cell_list.{k}.'
        z = conv(x, state[f'{cell}conv_x.0.weight']) + conv(h, state[f'{cell}conv_h.0.weight'])
        return dict(zip('ifgo', z.chunk(4, 1))), dict.fromkeys('ifo', 0)

    return state, gates, sizes


def separate(peephole=True):
    """A convolution for each gate, with peepholes to c before (i, f) and after (o) the update."""
    state = {}
    for k, (inputs, hidden) in enumerate(zip([INPUTS, *SIZES], SIZES)):
        for gate in 'ifco':
            state[f'cell{k}.Wx{gate}.weight'] = draw(hidden, inputs, 3, 3)
            state[f'cell{k}.Wx{gate}.bias'] = draw(hidden)
            state[f'cell{k}.Wh{gate}.weight'] = draw(hidden, hidden, 3, 3)
            if peephole and gate != 'c':
                state[f'cell{k}.Wc{gate}'] = draw(1, hidden, *SIZE)

    def gates(k, x, h, c):
        z = {}
        for gate, letter in zip('ifgo', 'ifco'):
            parts = (f'cell{k}.W{side}{letter}' for side in 'xh')
            z[gate] = sum(
                conv(v, state[f'{p}.weight'], state.get(f'{p}.bias')) for v, p in zip((x, h), parts)
            )
        return z, {g: state.get(f'cell{k}.Wc{g}', torch.zeros(1)) for g in 'ifo'}

    return state, gates, SIZES


def wanted(gates, sizes, x):
    """The last cell's h at every step, from the formulas of Shi et al."""
    h = [x.new_zeros(len(x), s, *SIZE) for s in sizes]
    c, outputs = [*h], []
    for t in range(x.shape[1]):
        below = x[:, t]
        for k in range(len(sizes)):
            z, p = gates(k, below, h[k], c[k])
            i, f = ((z[g] + p[g] * c[k]).sigmoid() for g in 'if')
            c[k] = f * c[k] + i * z['g'].tanh()
            h[k] = below = (z['o'] + p['o'] * c[k]).sigmoid() * c[k].tanh()
        outputs.append(below)
    return torch.stack(outputs, 1)


CASES = {
    'ndrplz': (lambda: joint('cell_list.{}.conv'), {}),
    'ndrplz, no bias, in a model': (
        lambda: joint('module.encoder.cell_list.{}.conv', bias=False),
        dict(prefix='encoder.'),
    ),
    'ndrplz, 11 cells': (lambda: joint('cell_list.{}.conv', sizes=[4] * 11, kernel=(1, 1)), {}),
    'one cell': (lambda: joint('conv', sizes=[4]), {}),
    'Gates': (lambda: joint('Gates', sizes=[4]), {}),
    'another order': (lambda: joint('layers.{}.conv', 'gifo'), dict(gate_order='gifo')),
    'OpenSTL': (split, {}),
    'automan000': (lambda: separate(False), {}),
    'automan000, peepholes': (separate, {}),
}


@pytest.mark.parametrize('name', CASES)
def test_equals_the_published_formulas(name):
    torch.manual_seed(0)
    build, options = CASES[name]
    state, gates, sizes = build()
    layer = load_convlstm(dict(state_dict=state), **options)
    x = torch.randn(2, 5, INPUTS, *SIZE)
    want = wanted(gates, sizes, x)
    assert want.std() > 0.01
    with torch.no_grad():
        assert (layer(x)[0] - want).abs().max() <= 1e-5 * want.abs().max()


def test_the_tool_writes_what_the_printed_neck_loads(tmp_path):
    torch.manual_seed(0)
    state, gates, sizes = joint('rnn.cell_list.{}.conv', kernel=(3, 3))
    torch.save(state, tmp_path / 'theirs.pth')
    given = tmp_path / 'theirs.pth', tmp_path / 'new' / 'ours.pth', '--prefix', 'rnn.'
    done = run_tool('tools/convert_checkpoint.py', *given)
    assert done.returncode == 0, done.stderr
    neck = MODELS.build(eval(re.search('neck=(.*)', done.stdout)[1]))
    neck.init_weights()
    x = torch.randn(2, 5, INPUTS, *SIZE)
    with torch.no_grad():
        output = neck(x.transpose(1, 2))[0][:, :, 0]
    torch.testing.assert_close(output, wanted(gates, sizes, x)[:, -1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    'state, words',
    [
        (
            {'fc.weight': torch.zeros(4, 4)},
            r"expected a ConvLSTM cell under '' .conv, Gates, conv_x",
        ),
        (
            {k: v for k, v in split()[0].items() if 'conv_h' not in k},
            "expected 'cell_list.0.conv_h.0.weight' beside it",
        ),
        (
            {**split()[0], 'cell_list.0.conv_x.1.weight': torch.zeros(16, 6, 7)},
            'cell without LayerNorm',
        ),
        (
            {**joint('a.{}.conv')[0], **joint('b.{}.conv')[0]},
            'a.0. 3 to 4, a.1. 4 to 5, b.0. 3 to 4.*prefix of one stack',
        ),
        (
            {'conv.0.weight': torch.zeros(16, 7, 3, 3), 'conv.1.weight': torch.zeros(16)},
            'without normalization',
        ),
        (
            {
                'conv_x.0.weight': torch.zeros(28, 3, 3, 3),
                'conv_h.0.weight': torch.zeros(16, 4, 3, 3),
            },
            r'4 gates of 4 channels .*PredRNN',
        ),
        (joint('conv', sizes=[4], kernel=(2, 2))[0], 'odd kernel size'),
    ],
)
def test_refuses_by_name(state, words, tmp_path):
    torch.save(state, tmp_path / 'theirs.pth')
    done = run_tool('tools/convert_checkpoint.py', tmp_path / 'theirs.pth', tmp_path / 'ours.pth')
    assert done.returncode == 2 and re.search(words, done.stderr), done.stderr
    assert not (tmp_path / 'ours.pth').exists()
