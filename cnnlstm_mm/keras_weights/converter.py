"""Conversion of Keras's weights to the names and shapes of our modules."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlstm_mm.models.backbones import MobileNetV1

from .graph import SUPPORTED, read_options
from .reader import MOBILENET_LAYERS, read_keras_file

Arrays = dict[str, list[np.ndarray]]
Weights = dict[str, Tensor]

# A layer's class by the dimensions of its arrays but the bias.
RANKS = {(4, 4): 'ConvLSTM2D', (2, 2): 'LSTM', (2,): 'Dense'}


def convert(path: str | Path, spatial_size: tuple[int, int] | None = None) -> tuple[Weights, dict]:
    """Convert a MobileNet or a whole recurrent model that Keras saved.

    A file of weights alone does not tell the layers' options: it is taken to have the defaults of
    Keras 3.

    Args:
        path: a .keras, .weights.h5 or legacy .h5 file.
        spatial_size: (h, w) of the ConvLSTM's output, for a map that is not square.

    Returns:
        The weights in float32 by their names, and the config of the MobileNetV1 or Recognizer3D
        that loads them.

    Raises:
        FileNotFoundError: see :func:`read_keras_file`.
        ImportError: see :func:`read_keras_file`.
        ValueError: if layers are unknown, missing, of another shape or with options that our
            modules lack; they are named.
    """
    file = read_keras_file(Path(path))
    if not set(MOBILENET_LAYERS) & set(file.arrays):
        raise ValueError(
            f'{path} holds no layer of a MobileNet v1, but {list(file.arrays)[:5]}. {SUPPORTED}'
        )
    neck_options, head_options = read_options(file)
    weights, backbone = _mobilenet(file.arrays)
    rest = {name: arrays for name, arrays in file.arrays.items() if name not in MOBILENET_LAYERS}
    if not rest:
        return weights, backbone

    kinds = {name: _kind(arrays) for name, arrays in rest.items()}
    dense = {n: rest[n] for n in rest if kinds[n] == 'Dense'}
    others = [n for n in rest if n not in dense]
    if len(others) != 1 or kinds[others[0]] is None or len(dense) not in (1, 2):
        shapes = {n: [a.shape for a in arrays] for n, arrays in rest.items()}
        found = '; '.join(f'{n} ({kinds[n] or "unknown"}), arrays of {shapes[n]}' for n in rest)
        raise ValueError(f'cannot convert these layers beside the MobileNet: {found}. {SUPPORTED}')
    (name,) = others
    channels = weights['layer13.pointwise_conv.conv.weight'].shape[0]
    _check_inputs(name, rest[name], channels)
    if kinds[name] == 'LSTM':
        neck_weights, neck = _lstm(rest[name])
        spatial_size = (1, 1)
    else:
        neck_weights, neck = _conv_lstm(rest[name])
        neck.update(neck_options)
    hidden = neck['hidden_channels']
    head_weights, head = (
        _head(dense, hidden) if len(dense) == 1 else _flatten_head(dense, hidden, spatial_size)
    )
    if head_options.get('dropout_ratio', 0.5) != 0.5:  # the default of both heads
        head.update(head_options)
    weights = {f'backbone.backbone.{k}': v for k, v in weights.items()}
    weights.update(neck_weights | head_weights)
    return weights, dict(
        type='Recognizer3D',
        backbone=dict(type='TimeDistributed', backbone=backbone),
        neck=neck,
        cls_head=dict(head, average_clips='prob'),
        data_preprocessor=dict(
            type='ActionDataPreprocessor',
            mean=[127.5, 127.5, 127.5],
            std=[127.5, 127.5, 127.5],
            format_shape='NCTHW',
        ),
    )


def _mobilenet(arrays: Arrays) -> tuple[Weights, dict]:
    missing = [name for name in MOBILENET_LAYERS if name not in arrays]
    if missing:
        raise ValueError(f'these layers of a MobileNet v1 are missing: {missing}. {SUPPORTED}')
    config = dict(type='MobileNetV1', widen_factor=arrays['conv_pw_13'][0].shape[-1] / 1024)
    with torch.device('meta'):
        wanted = MobileNetV1(config['widen_factor'], init_cfg=None).state_dict()
    weights, wrong = {}, []
    for name in MOBILENET_LAYERS:
        for key, weight in _rename(name, arrays[name]).items():
            shape = list(wanted[key].shape) if key in wanted else 'no array'
            if list(weight.shape) != shape:
                wrong.append(f'{name} has {list(weight.shape)} for {key}, which takes {shape}')
            weights[key] = weight
    wrong += [f'nothing for {key}' for key in wanted if key not in weights]
    if wrong:
        raise ValueError(
            f'expected the layers of a MobileNet v1 of width {config["widen_factor"]:g}, got: '
            f'{"; ".join(wrong)}. {SUPPORTED}'
        )
    return weights, config


def _rename(name: str, arrays: list[np.ndarray]) -> Weights:
    """Rename one layer's arrays, conv_dw_5_bn -> layer5.depthwise_conv.bn.weight."""
    layer, *block = name.removesuffix('_bn').rsplit('_', 1)
    if block:
        part = dict(conv_dw='depthwise_conv', conv_pw='pointwise_conv')[layer]
        layer = f'layer{block[0]}.{part}'
    if name.endswith('_bn'):
        keys = ('weight', 'bias', 'running_mean', 'running_var')
        weights = dict(zip(keys, map(_tensor, arrays)))
        weights['num_batches_tracked'] = torch.tensor(0)
        return {f'{layer}.bn.{key}': w for key, w in weights.items()}
    weights = dict(zip(('weight', 'bias'), map(_tensor, arrays)))
    if weights['weight'].dim() == 4:
        # [kh, kw, in, out] or depthwise [kh, kw, C, 1] -> [out, in, kh, kw]
        order = (2, 3, 0, 1) if 'depthwise' in layer else (3, 2, 0, 1)
        weights['weight'] = weights['weight'].permute(order).contiguous()
    return {f'{layer}.conv.{key}': w for key, w in weights.items()}


def _conv_lstm(arrays: list[np.ndarray]) -> tuple[Weights, dict]:
    # [kh, kw, in, 4*hidden] -> [4*hidden, in, kh, kw], gates i, f, g, o in both
    kernel, recurrent = (_tensor(a).permute(3, 2, 0, 1).contiguous() for a in arrays[:2])
    weights = {'neck.conv_lstm.weight_ih_l0': kernel, 'neck.conv_lstm.weight_hh_l0': recurrent}
    if len(arrays) == 3:
        weights['neck.conv_lstm.bias_l0'] = _tensor(arrays[2])
    height, width = kernel.shape[2:]
    return weights, dict(
        type='ConvLSTMNeck',
        in_channels=kernel.shape[1],
        hidden_channels=recurrent.shape[1],
        kernel_size=height if height == width else (height, width),
        padding='valid',
        return_mode='last',
        **({} if len(arrays) == 3 else dict(bias=False)),
    )


def _lstm(arrays: list[np.ndarray]) -> tuple[Weights, dict]:
    # [in, 4*hidden] -> [4*hidden, in], gates i, f, g, o in both
    kernel, recurrent = (_tensor(a).T.contiguous() for a in arrays[:2])
    zeros = torch.zeros(len(kernel))
    weights = {
        'neck.lstm.weight_ih_l0': kernel,
        'neck.lstm.weight_hh_l0': recurrent,
        'neck.lstm.bias_ih_l0': _tensor(arrays[2]) if len(arrays) == 3 else zeros,
        'neck.lstm.bias_hh_l0': zeros,  # Keras's LSTM has one bias, nn.LSTM two
    }
    return weights, dict(
        type='LSTMPoolingNeck',
        in_channels=kernel.shape[1],
        hidden_channels=recurrent.shape[1],
        temporal_pool='last',
    )


def _head(dense: Arrays, channels: int) -> tuple[Weights, dict]:
    ((name, arrays),) = dense.items()
    _check_inputs(name, arrays, channels)
    weights = _dense('cls_head.fc_cls', arrays)
    return weights, dict(type='I3DHead', num_classes=arrays[0].shape[-1], in_channels=channels)


def _flatten_head(
    dense: Arrays, channels: int, spatial_size: tuple[int, int] | None
) -> tuple[Weights, dict]:
    (name, arrays), (last, last_arrays) = dense.items()
    inputs, hidden = arrays[0].shape
    h, w = spatial_size or 2 * (math.isqrt(inputs // channels),)
    if inputs != h * w * channels:
        raise ValueError(
            f'{name} takes {inputs} inputs, expected {h}x{w} pixels of {channels} channels; fix: '
            'pass the (h, w) of the output of ConvLSTM2D as --spatial-size'
        )
    _check_inputs(last, last_arrays, hidden)
    # Keras flattens [h, w, C], FlattenHead [C, h, w].
    kernel = arrays[0].reshape(h, w, channels, -1).transpose(2, 0, 1, 3)
    weights = _dense('cls_head.fc_hidden', [kernel.reshape(-1, hidden), *arrays[1:]])
    weights.update(_dense('cls_head.fc_cls', last_arrays))
    return weights, dict(
        type='FlattenHead',
        num_classes=last_arrays[0].shape[-1],
        in_channels=channels,
        spatial_size=(h, w),
        hidden_channels=hidden,
    )


def _dense(key: str, arrays: list[np.ndarray]) -> Weights:
    weight = _tensor(arrays[0]).T.contiguous()  # [in, out] -> [out, in]
    bias = _tensor(arrays[1]) if len(arrays) == 2 else torch.zeros(len(weight))
    return {f'{key}.weight': weight, f'{key}.bias': bias}


def _check_inputs(name: str, arrays: list[np.ndarray], inputs: int) -> None:
    if arrays[0].shape[-2] != inputs:
        raise ValueError(
            f'{name} takes {arrays[0].shape[-2]} inputs, expected {inputs} as the layer before it '
            f'gives. {SUPPORTED}'
        )


def _kind(arrays: list[np.ndarray]) -> str | None:
    """Find a layer's class by its arrays, whatever its name."""
    kind = RANKS.get(tuple(a.ndim for a in arrays if a.ndim > 1))
    if kind in ('ConvLSTM2D', 'LSTM'):
        hidden = arrays[1].shape[-2]
        if any(a.shape[-1] != 4 * hidden for a in arrays):
            return None
    return kind


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))
