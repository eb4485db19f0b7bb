"""Keras models with random weights, for the tests of conversion and parity."""

import contextlib
import io
import os
import runpy
import sys
from unittest import mock

import numpy as np
import pytest
from helpers.support import ROOT

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


def run_tool(*args, fails=False):
    """Run tools/convert_keras_weights.py; return what it says."""
    tool = str(ROOT / 'tools' / 'convert_keras_weights.py')
    output = io.StringIO()
    with (
        mock.patch.object(sys, 'argv', [tool, *map(str, args)]),
        contextlib.redirect_stdout(output),
    ):
        if not fails:
            runpy.run_path(tool, run_name='__main__')
            return output.getvalue()
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(tool, run_name='__main__')
    return str(stop.value)
