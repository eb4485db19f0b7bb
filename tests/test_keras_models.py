"""Converted models against Keras 3 itself, and against Keras 2's formulas in NumPy."""

import os

import numpy as np
import pytest
import torch
from helpers import keras2

os.environ['KERAS_BACKEND'] = 'torch'
keras = pytest.importorskip('keras', reason='needs Keras to compare with')
from helpers.keras_models import layers, lstm_model, randomize, seed_model

from cnnlstm_mm.keras_weights import convert
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

RNG = np.random.default_rng(0)
SHAPE = (4, 5, 5, 6)  # T, h, w, C: features
FRAMES = (4, 6, 6, 3)


def scores_of(path, clips, spatial_size=None):
    """Scores of clips [N, T, H, W, C] by the model that a file converts to."""
    weights, config = convert(path, spatial_size)
    model = MODELS.build(config).eval()
    model.load_state_dict(weights)
    inputs = [torch.from_numpy(c).permute(3, 0, 1, 2)[None] for c in clips]
    samples = [ActionDataSample() for _ in clips]
    with torch.no_grad():
        done = model.test_step(dict(inputs=inputs, data_samples=samples))
    return np.stack([sample.pred_score.numpy() for sample in done])


def check(got, want):
    assert got.shape == want.shape
    assert np.ptp(want) > 0.03, 'scores all alike would prove nothing'
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


def features(shape=SHAPE):
    return np.random.default_rng(1).normal(0, 2, (2, *shape)).astype(np.float32)


def conv(filters=4, last=True, **options):
    options = dict(padding='same', return_sequences=not last) | options
    return layers.ConvLSTM2D(filters, 3, **options)


def dense(*sizes, bias=True, last='softmax'):
    hidden = [layers.Dense(s, activation='relu', use_bias=bias) for s in sizes]
    return [*hidden, layers.Dense(5, activation=last, use_bias=bias)]


GAP, GMP = layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D
FRAMEWISE = layers.TimeDistributed
MODELS_3 = {
    'two dense after pooling': lambda: [conv(), GAP(), *dense(7)],
    'max pooling': lambda: [conv(padding='valid'), GMP(), *dense()],
    'one dense after Flatten': lambda: [conv(), layers.Flatten(), *dense()],
    'no biases': lambda: [conv(use_bias=False), GAP(), *dense(7, bias=False)],
    'one bias in a stack': lambda: [conv(last=False), conv(use_bias=False), GAP(), *dense()],
    'stack': lambda: [conv(6, False, strides=2), conv(4, False), conv(3), layers.Flatten(), *dense(7)],
    'stack of one size': lambda: [conv(4, False, padding='valid'), conv(4), GAP(), *dense()],
    'stack backwards': lambda: [conv(last=False, go_backwards=True), conv(), GAP(), *dense()],
    'relu': lambda: [conv(activation='relu', recurrent_activation='hard_sigmoid'), GAP(), *dense(7)],
    'both ways': lambda: [layers.Bidirectional(conv()), GAP(), *dense(7)],
    'stack both ways': lambda: [
        layers.Bidirectional(conv(5, False)),
        layers.Bidirectional(conv(4, use_bias=False)),
        layers.Flatten(),
        *dense(),
    ],
    'mean over all steps': lambda: [conv(last=False), layers.GlobalAveragePooling3D(), *dense(7)],
    'maximum over all steps': lambda: [conv(last=False), layers.GlobalMaxPooling3D(), *dense()],
    'linear, then Activation': lambda: [
        conv(), GAP(), layers.Dropout(0.2),
        *dense(last='linear'), layers.Activation('softmax'),
    ],
    'scores': lambda: [conv(), GAP(), *dense(last='linear')],
    'stacked LSTM': lambda: [
        FRAMEWISE(GAP()), layers.LSTM(4, return_sequences=True), layers.LSTM(4), *dense(),
    ],
    'LSTM of two sizes, mean': lambda: [
        FRAMEWISE(GMP()),
        layers.LSTM(6, return_sequences=True),
        layers.LSTM(4, return_sequences=True),
        layers.GlobalAveragePooling1D(),
        *dense(7),
    ],
    'LSTM both ways': lambda: [
        FRAMEWISE(GAP()),
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.Bidirectional(layers.LSTM(4, use_bias=False)),
        *dense(7),
    ],
    'LSTM, relu and dense frames': lambda: [
        FRAMEWISE(GAP()),
        FRAMEWISE(layers.Dense(7, activation='relu')),
        layers.Bidirectional(layers.LSTM(4, activation='relu', recurrent_activation='hard_sigmoid')),
        *dense(),
    ],
}  # fmt: skip


@pytest.mark.parametrize('suffix', ['.keras', '.h5'])
@pytest.mark.parametrize('name', MODELS_3)
def test_keras_3(name, suffix, tmp_path):
    model = randomize(keras.Sequential([layers.Input(SHAPE), *MODELS_3[name]()]))
    model.save(tmp_path / f'model{suffix}')
    x = features()
    want = keras.ops.convert_to_numpy(model(x, training=False))
    check(scores_of(tmp_path / f'model{suffix}', x), want)


@pytest.mark.slow
@pytest.mark.parametrize(
    'build',
    [
        lambda: seed_model((2, 64, 64), inner=(), padding='same', tail=[GAP(), *dense(7)]),
        lambda: lstm_model((2, 64, 64), pooling='max', dense=[4]),
        lambda: randomize(
            keras.Sequential(
                [
                    layers.Input(FRAMES),
                    layers.Rescaling(1 / 255),
                    layers.Bidirectional(conv(5, False)),
                    layers.Bidirectional(conv(4)),
                    GAP(),
                    *dense(),
                ]
            )
        ),
    ],
    ids=['mobilenet, pooled', 'mobilenet, LSTM, max', 'frames without a CNN'],
)
@pytest.mark.parametrize('format', ['model.keras', 'model.h5'])
def test_whole_models_of_frames(build, format, tmp_path):
    model = build()
    model.save(tmp_path / format)
    x = RNG.integers(0, 256, (2, *model.input_shape[1:]), dtype=np.uint8)
    scaled = x if model.input_shape[2] == 6 else x.astype(np.float32) / 127.5 - 1
    want = keras.ops.convert_to_numpy(model(scaled, training=False))
    check(scores_of(tmp_path / format, x), want)


def keras_2_weights(inputs, hidden, kernel=(3, 3), scale=0.8):
    shapes = ((*kernel, inputs, 4 * hidden), (*kernel, hidden, 4 * hidden), (4 * hidden,))
    arrays = [RNG.normal(size=s) * scale / np.sqrt(np.prod(s[:-1])) * 3 for s in shapes]
    return dict(zip(('kernel', 'recurrent_kernel', 'bias'), arrays))


def keras_2_conv(name, hidden, last=True, **options):
    return 'ConvLSTM2D', dict(
        dict(
            name=name,
            filters=hidden,
            kernel_size=[3, 3],
            strides=[1, 1],
            padding='same',
            data_format='channels_last',
            dilation_rate=[1, 1],
            activation='tanh',
            recurrent_activation='hard_sigmoid',
            use_bias=True,
            return_sequences=not last,
            go_backwards=False,
            dropout=0.0,
            recurrent_dropout=0.0,
        ),
        **options,
    )


def keras_2_dense(name, inputs, size, activation):
    arrays = dict(kernel=RNG.normal(size=(inputs, size)) * 2, bias=RNG.normal(size=size))
    config = dict(name=name, units=size, activation=activation, use_bias=True)
    return ('Dense', config, arrays), lambda x: x @ arrays['kernel'] + arrays['bias']


@pytest.mark.parametrize('activation', ['tanh', 'relu'])
def test_a_stack_of_keras_2(activation, tmp_path):
    one, two = keras_2_weights(6, 4), keras_2_weights(4, 3)
    (dense_1, run_1), (dense_2, run_2) = (
        keras_2_dense('dense_1', 3, 7, 'relu'),
        keras_2_dense('dense_2', 7, 5, 'softmax'),
    )
    path = keras2.write(
        tmp_path / 'old.h5',
        [
            (
                *keras_2_conv('conv_lst_m2d_1', 4, False, padding='valid', activation=activation),
                one,
            ),
            (*keras_2_conv('conv_lst_m2d_2', 3, activation=activation), two),
            ('GlobalAveragePooling2D', dict(name='pool_1', data_format='channels_last'), {}),
            dense_1,
            dense_2,
        ],
        SHAPE,
    )
    x = features()
    squash = np.tanh if activation == 'tanh' else lambda v: np.maximum(v, 0)
    h = keras2.conv_lstm(x, **_renamed(one), padding='valid', activation=squash)
    h = keras2.conv_lstm(h, **_renamed(two), padding='same', activation=squash)[:, -1]
    want = keras2.softmax(run_2(np.maximum(run_1(h.mean((1, 2))), 0)))
    check(scores_of(path, x), want)


def _renamed(arrays):
    return dict(zip(('kernel', 'recurrent', 'bias'), arrays.values()))


def test_both_ways_in_keras_2(tmp_path):
    ahead, back = keras_2_weights(6, 4), keras_2_weights(6, 4)
    head, run = keras_2_dense('dense_1', 8, 5, 'softmax')
    kind, inner = keras_2_conv('conv_lst_m2d_1', 4)
    config = dict(
        name='bidirectional_1', merge_mode='concat', layer=dict(class_name=kind, config=inner)
    )
    arrays = {f'forward_conv_lst_m2d_1/{k}': v for k, v in ahead.items()}
    arrays |= {f'backward_conv_lst_m2d_1/{k}': v for k, v in back.items()}
    pool = ('GlobalMaxPooling2D', dict(name='pool_1', data_format='channels_last'), {})
    path = keras2.write(
        tmp_path / 'old.h5', [('Bidirectional', config, arrays), pool, head], SHAPE, '2.3.1'
    )
    x = features()
    maps = [
        keras2.conv_lstm(x, **_renamed(w), padding='same', backwards=b)[:, -1]
        for w, b in ((ahead, False), (back, True))
    ]
    check(scores_of(path, x), keras2.softmax(run(np.concatenate(maps, -1).max((1, 2)))))


@pytest.mark.parametrize('gates', ['hard_sigmoid', 'sigmoid'])
def test_an_lstm_of_keras_2(gates, tmp_path, monkeypatch):
    weights = keras_2_weights(6, 4, ())
    head, run = keras_2_dense('dense_1', 4, 5, 'softmax')
    pool = dict(class_name='GlobalAveragePooling2D', config=dict(name='pool_1'))
    config = dict(name='lstm_1', units=4, activation='tanh', recurrent_activation=gates)
    config |= dict(use_bias=True, return_sequences=False, go_backwards=False)
    listed = [
        ('TimeDistributed', dict(name='time_distributed_1', layer=pool), {}),
        ('LSTM', config, weights),
        head,
    ]
    path = keras2.write(tmp_path / 'old.h5', listed, SHAPE)
    if gates == 'sigmoid':
        monkeypatch.setattr(keras2, 'hard_sigmoid', lambda x: 1 / (1 + np.exp(-x)))
    x = features()
    check(scores_of(path, x), keras2.softmax(run(keras2.lstm(x.mean((2, 3)), **_renamed(weights)))))


@pytest.mark.parametrize(
    'tail, words',
    [
        (
            lambda: [
                conv(last=False),
                layers.BatchNormalization(name='bn'),
                conv(),
                GAP(),
                *dense(),
            ],
            'bn is a BatchNormalization, expected a ConvLSTM2D or ',
        ),
        (
            lambda: [conv(last=False), conv(padding='valid', name='second'), GAP(), *dense()],
            "second has padding='valid', expected 'same' in a deeper ConvLSTM2D",
        ),
        (
            lambda: [conv(last=False), conv(activation='relu', name='second'), GAP(), *dense()],
            "second has activation='relu', expected 'tanh' as the first ConvLSTM2D",
        ),
        (
            lambda: [layers.Bidirectional(conv(), merge_mode='sum', name='both'), GAP(), *dense()],
            "both has merge_mode='sum', expected 'concat'",
        ),
        (
            lambda: [conv(), layers.MaxPooling2D(name='pool'), layers.Flatten(), *dense()],
            'pool is a MaxPooling2D, expected a Flatten or Glob',
        ),
        (lambda: [conv(), GAP(), *dense(7, 6)], 'dense.* is a Dense, expected the end'),
        (
            lambda: [conv(), GAP(), *dense(last='sigmoid')],
            "dense.* has activation='sigmoid', expected one of",
        ),
        (
            lambda: [conv(last=False, name='only')],
            'the model ends, expected a ConvLSTM2D or GlobalAveragePooling3D',
        ),
    ],
)
def test_the_one_layer_that_cannot_is_named(tail, words, tmp_path):
    keras.Sequential([layers.Input(SHAPE), *tail()]).save(tmp_path / 'model.keras')
    with pytest.raises(ValueError, match=words):
        convert(tmp_path / 'model.keras')
