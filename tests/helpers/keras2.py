"""Keras 2: its layers' formulas in NumPy, and its .h5 files in its own layout."""

import json

import h5py
import numpy as np


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def convolve(x, kernel, padding):
    """x [N, H, W, C], kernel [kh, kw, C, F], stride 1."""
    kh, kw = kernel.shape[:2]
    if padding == 'same':
        x = np.pad(x, ((0, 0), ((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), (1, 2))
    return np.einsum('nhwcij,ijcf->nhwf', windows, kernel)


def conv_lstm(x, kernel, recurrent, bias, padding='valid', activation=np.tanh, backwards=False):
    """ConvLSTM2D's sequence [N, T, h, w, F] of x [N, T, H, W, C], gates i, f, c, o."""
    outputs, h, c = [], None, None
    for t in range(x.shape[1])[:: -1 if backwards else 1]:
        z = convolve(x[:, t], kernel, padding) + bias
        if h is None:
            h = c = np.zeros((*z.shape[:3], z.shape[3] // 4))
        i, f, g, o = np.split(z + convolve(h, recurrent, 'same'), 4, -1)
        c = hard_sigmoid(f) * c + hard_sigmoid(i) * activation(g)
        h = hard_sigmoid(o) * activation(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def lstm(x, kernel, recurrent, bias):
    """LSTM's last output [N, F] of x [N, T, C]."""
    maps = [a[None, None] for a in (kernel, recurrent)]
    return conv_lstm(x[:, :, None, None], *maps, bias)[:, -1, 0, 0]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def write(path, layers, shape, version='2.2.4', with_config=True):
    """A file as Keras 2's model.save, or save_weights, wrote it.

    Args:
        layers: (class, config, arrays by name) in their order.
        shape: batch_input_shape.
    """
    configs = [dict(class_name=kind, config=config) for kind, config, _ in layers]
    configs[0]['config']['batch_input_shape'] = [None, *shape]
    with h5py.File(path, 'w') as file:
        root = file
        if with_config:
            model = dict(class_name='Sequential', config=dict(name='sequential_1', layers=configs))
            file.attrs['model_config'] = json.dumps(model).encode()
            file.attrs['keras_version'] = version.encode()
            file.attrs['backend'] = b'tensorflow'
            root = file.create_group('model_weights')
        root.attrs['layer_names'] = [config['name'].encode() for _, config, _ in layers]
        root.attrs['keras_version'] = version.encode()
        root.attrs['backend'] = b'tensorflow'
        for _, config, arrays in layers:
            group = root.create_group(config['name'])
            names = [f'{config["name"]}/{name}:0' for name in arrays]
            group.attrs['weight_names'] = [name.encode() for name in names]
            for name, array in zip(names, arrays.values()):
                group[name] = array.astype(np.float32)
    return path
