"""Keras models with random weights, for the tests of conversion and parity."""

import os

import numpy as np
import pytest
from helpers.support import run_tool

os.environ['KERAS_BACKEND'] = 'torch'
keras = pytest.importorskip('keras', reason='needs Keras to compare with')
layers = keras.layers


def randomize(model, seed=0):
    """Draw every weight and batch-norm statistic anew; return the model."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        shape = tuple(weight.shape)
        if weight.name in ('gamma', 'moving_variance'):
            value = rng.uniform(0.5, 1.5, shape)
        elif 'kernel' in weight.name:
            depthwise = len(shape) == 4 and shape[-1] == 1
            fan_in = np.prod(shape[:-2] if depthwise else shape[:-1])
            value = rng.normal(0, np.sqrt(2 / fan_in), shape)
        else:
            value = rng.normal(0, 0.5, shape)
        weight.assign(value.astype(np.float32))
    return model


def mobilenet(alpha=0.25, size=(None, None), **kwargs):
    """MobileNet without top."""
    return keras.applications.MobileNet(
        include_top=False, weights=None, alpha=alpha, input_shape=(*size, 3), **kwargs
    )


def seed_model(
    clip=(2, 128, 128),
    alpha=0.25,
    hidden=6,
    dense=7,
    classes=5,
    kernel=3,
    cnn=None,
    inner=(),
    tail=None,
    **options,
):
    """The seed, small: MobileNet, ConvLSTM2D, then ``tail``: Flatten, Dense, Dense."""
    tail = tail or [
        layers.Flatten(),
        layers.Dense(dense, activation='relu'),
        layers.Dropout(0.5),
        layers.Dense(classes, activation='softmax'),
    ]
    return randomize(
        keras.Sequential(
            [
                layers.Input((*clip, 3)),
                layers.TimeDistributed(cnn or mobilenet(alpha, clip[1:])),
                *inner,
                layers.ConvLSTM2D(hidden, kernel, **options),
                *tail,
            ]
        )
    )


def lstm_model(
    clip=(3, 64, 64), pooling='avg', hidden=6, classes=5, dense=(), bias=True, **options
):
    """MobileNet, average pooling, LSTM, dropout, Dense, by the functional API."""
    inputs = layers.Input((*clip, 3))
    cnn = mobilenet(0.25, clip[1:], pooling=pooling)
    x = layers.TimeDistributed(cnn)(inputs)
    if pooling is None:
        x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.LSTM(hidden, **options)(x)
    for size in dense:
        x = layers.Dense(size, activation='relu', use_bias=bias)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(classes, activation='softmax', use_bias=bias)(x)
    return randomize(keras.Model(inputs, x))


def run_converter(*args, fails=False):
    """Call tools/convert_keras_weights.py; what it prints, or the error that it ends with."""
    done = run_tool('tools/convert_keras_weights.py', *args)
    assert done.returncode == (2 if fails else 0), done.stdout + done.stderr
    return done.stderr if fails else done.stdout
