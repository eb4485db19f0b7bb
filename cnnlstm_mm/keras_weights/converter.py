"""Conversion of Keras's weights to the names and shapes of our modules."""

import logging
import math
from pathlib import Path

import numpy as np

from .arrays import (
    RANKS,
    Arrays,
    Weights,
    check_inputs,
    conv_lstm_weights,
    dense_weights,
    kind_of,
    lstm_weights,
    mobilenet_weights,
)
from .graph import SUPPORTED
from .plan import Plan, read_plan
from .reader import MOBILENET_LAYERS, KerasFile, read_keras_file

LOGGER = logging.getLogger(__name__)
Size = tuple[int, int]


def convert(path: str | Path, spatial_size: Size | None = None) -> tuple[Weights, dict]:
    """Convert a MobileNet or a whole recurrent model that Keras saved.

    A file of weights alone does not tell the layers' options: it is taken to have the defaults of
    the Keras that wrote it.

    Args:
        path: a .keras, .weights.h5 or legacy .h5 file.
        spatial_size: (h, w) of what is flattened, for a map that is not square.

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
    plan = read_plan(file)
    has_mobilenet = bool(set(MOBILENET_LAYERS) & set(file.arrays))
    if not has_mobilenet and (plan is None or plan.mobilenet):
        raise ValueError(
            f'{path} holds no layer of a MobileNet v1, but {list(file.arrays)[:5]}. {SUPPORTED}'
        )
    weights: Weights = {}
    backbone: dict = dict(type='PrecomputedFeatures')
    channels = None
    rest = {name: arrays for name, arrays in file.arrays.items() if name not in MOBILENET_LAYERS}
    if has_mobilenet:
        weights, backbone = mobilenet_weights(file.arrays)
        channels = weights['layer13.pointwise_conv.conv.weight'].shape[0]
        if not rest:
            return weights, backbone
        weights = {f'backbone.backbone.{k}': v for k, v in weights.items()}
        backbone = dict(type='TimeDistributed', backbone=backbone)
    recurrent, dense, kind, bidirectional = _select(rest, plan)
    plan = plan or _guess(file, recurrent, dense, kind, bidirectional)
    if kind == 'LSTM':
        neck_weights, neck = _lstm_neck(recurrent, dense, plan, channels, spatial_size)
        spatial_size = (1, 1)
    else:
        neck_weights, neck = _conv_neck(recurrent, plan, channels)
    width = neck['hidden_channels']
    width = (width[-1] if isinstance(width, list) else width) * (2 if bidirectional else 1)
    pool = plan.pool or ('avg' if len(dense) == 1 else 'flatten')
    head_weights, head = _head(dense, width, pool, spatial_size)
    head.update(plan.head)
    head.setdefault('average_clips', 'prob')
    weights.update(neck_weights | head_weights)
    preprocessor = _preprocessor(plan, neck['in_channels'])
    return weights, dict(
        type='Recognizer3D',
        backbone=backbone,
        neck=neck,
        cls_head=head,
        data_preprocessor=preprocessor,
    )


def _select(rest: Arrays, plan: Plan | None) -> tuple[Arrays, Arrays, str, bool]:
    """The recurrent layers, the Dense ones, and the former's class and whether it is both ways."""
    kinds = {name: kind_of(arrays) for name, arrays in rest.items()}
    dense = {n: rest[n] for n in rest if kinds[n] == 'Dense'}
    recurrent = {n: rest[n] for n in rest if n not in dense}
    found = {kinds[n] for n in recurrent}
    most = 3 if plan and plan.frame_dense else 2
    if len(found) != 1 or not found <= {*RANKS.values()} or not 1 <= len(dense) <= most:
        shapes = {n: [a.shape for a in arrays] for n, arrays in rest.items()}
        listed = '; '.join(f'{n} ({kinds[n] or "unknown"}), arrays of {shapes[n]}' for n in rest)
        raise ValueError(f'cannot convert these layers: {listed}. {SUPPORTED}')
    *both, kind = str(found.pop()).split()
    return recurrent, dense, kind, bool(both)


def _guess(
    file: KerasFile, recurrent: Arrays, dense: Arrays, kind: str, bidirectional: bool
) -> Plan:
    """The plan of a file of weights alone."""
    plan = Plan(recurrent=list(recurrent), bidirectional=bidirectional)
    if bidirectional:
        plan.neck['bidirectional'] = True
    # ConvLSTM2D had the hard sigmoid up to Keras 3, LSTM up to Keras 2.3.
    old = ('2.',) if kind == 'ConvLSTM2D' else ('2.0', '2.1', '2.2')
    if file.version.startswith(old) and not (kind == 'LSTM' and file.version.endswith('-tf')):
        plan.neck['recurrent_activation'] = 'hard_sigmoid_keras2'
        LOGGER.warning(
            'Keras %s wrote weights alone: %s is taken to have its default gates, '
            'clip(0.2 x + 0.5, 0, 1)',
            file.version,
            next(iter(recurrent)),
        )
    if kind == 'LSTM':
        plan.neck.update(spatial_pool='avg', temporal_pool='last')
    else:
        plan.neck.update(return_mode='last')
        hidden = [*recurrent.values()][-1][1].shape[-2] * plan.directions
        inputs = next(iter(dense.values()))[0].shape[0]
        plan.pool = 'avg' if len(dense) == 1 and inputs == hidden else 'flatten'
    return plan


def _conv_neck(recurrent: Arrays, plan: Plan, channels: int | None) -> tuple[Weights, dict]:
    weights, sizes = {}, []
    bias = any(a.ndim == 1 for arrays in recurrent.values() for a in arrays)
    for layer, (name, arrays) in enumerate(recurrent.items()):
        check_inputs(name, arrays, channels or arrays[0].shape[-2])
        new = conv_lstm_weights(arrays, layer, plan.bidirectional, bias)
        weights.update({f'neck.conv_lstm.{k}': w for k, w in new.items()})
        sizes.append(arrays[1].shape[-2])
        channels = sizes[-1] * plan.directions
    kernel = weights['neck.conv_lstm.weight_ih_l0']
    height, width = kernel.shape[2:]
    neck = dict(
        type='ConvLSTMNeck',
        in_channels=kernel.shape[1],
        hidden_channels=sizes[0],
        kernel_size=height if height == width else (height, width),
        padding='valid',
    )
    if not bias:
        neck['bias'] = False
    return weights, {**neck, **_stack(sizes), **plan.neck}


def _lstm_neck(
    recurrent: Arrays, dense: Arrays, plan: Plan, channels: int | None, size: Size | None
) -> tuple[Weights, dict]:
    weights: Weights = {}
    neck: dict = dict(type='LSTMPoolingNeck')
    pool, inputs = plan.neck.get('spatial_pool', 'avg'), channels
    first = next(iter(recurrent))
    if plan.frame_dense:
        name = next(iter(dense))
        arrays = dense.pop(name)
    else:
        name, arrays = first, recurrent[first]
    if pool == 'flatten':
        if channels is None:
            raise ValueError(f'cannot convert {name} on flattened frames without a MobileNet')
        size = _size(name, arrays[0].shape[0], channels, size)
        arrays = _transposed(arrays, channels, size, plan.directions)
        neck['spatial_size'], inputs = size, channels * size[0] * size[1]
    if inputs is not None:
        check_inputs(name, arrays, inputs)
    neck['in_channels'] = channels or arrays[0].shape[0]
    if plan.frame_dense:
        weights.update(dense_weights('neck.dense', arrays))
        inputs = neck['dense_channels'] = arrays[0].shape[1]
    else:
        recurrent = {**recurrent, first: arrays}
    sizes = [arrays[1].shape[0] for arrays in recurrent.values()]
    plain = len({*sizes}) == 1 and not {'activation', 'recurrent_activation'} & {*plan.neck}
    for layer, (name, arrays) in enumerate(recurrent.items()):
        check_inputs(name, arrays, inputs or arrays[0].shape[0])
        new = lstm_weights(arrays, layer, plan.bidirectional, plain)
        weights.update({f'neck.lstm.{k}': w for k, w in new.items()})
        inputs = sizes[layer] * plan.directions
    neck.update({'hidden_channels': sizes[0], **_stack(sizes), **plan.neck})
    if pool == 'avg':
        neck.pop('spatial_pool', None)
    return weights, neck


def _stack(sizes: list[int]) -> dict:
    if len({*sizes}) > 1:
        return dict(hidden_channels=sizes)
    return dict(num_layers=len(sizes)) if len(sizes) > 1 else {}


def _head(dense: Arrays, channels: int, pool: str, size: Size | None) -> tuple[Weights, dict]:
    *hidden, (last, last_arrays) = dense.items()
    if pool == 'avg' and not hidden:
        check_inputs(last, last_arrays, channels)
        weights = dense_weights('cls_head.fc_cls', last_arrays)
        classes = last_arrays[0].shape[-1]
        return weights, dict(type='I3DHead', num_classes=classes, in_channels=channels)
    name, arrays = (hidden or [(last, last_arrays)])[0]
    head = dict(type='FlattenHead', num_classes=last_arrays[0].shape[-1], in_channels=channels)
    if pool == 'flatten':
        head['spatial_size'] = size = _size(name, arrays[0].shape[0], channels, size)
        arrays = _transposed(arrays, channels, size)
    else:
        head['spatial_pool'] = pool
        check_inputs(name, arrays, channels)
    head['hidden_channels'] = arrays[0].shape[1] if hidden else None
    if not hidden:
        return dense_weights('cls_head.fc_cls', arrays), head
    weights = dense_weights('cls_head.fc_hidden', arrays)
    check_inputs(last, last_arrays, head['hidden_channels'])
    return weights | dense_weights('cls_head.fc_cls', last_arrays), head


def _size(name: str, inputs: int, channels: int, size: Size | None) -> Size:
    h, w = size or 2 * (math.isqrt(inputs // channels),)
    if inputs != h * w * channels:
        raise ValueError(
            f'{name} takes {inputs} inputs, expected {h}x{w} pixels of {channels} channels; fix: '
            'pass the (h, w) of the map that is flattened as --spatial-size'
        )
    return h, w


def _transposed(
    arrays: list[np.ndarray], channels: int, size: Size, directions: int = 1
) -> list[np.ndarray]:
    """Keras flattens [h, w, C], our modules [C, h, w]: reorder the rows of the input's kernels."""
    step, arrays = len(arrays) // directions, [*arrays]
    for k in range(0, step * directions, step):
        kernel = arrays[k].reshape(*size, channels, -1).transpose(2, 0, 1, 3)
        arrays[k] = kernel.reshape(-1, arrays[k].shape[1])
    return arrays


def _preprocessor(plan: Plan, channels: int) -> dict:
    if not plan.mobilenet and channels != 3:
        return dict(type='FeatureDataPreprocessor')
    scale, offset = plan.scale or ((1 / 127.5, -1.0) if plan.mobilenet else (1.0, 0.0))
    if not plan.mobilenet and plan.scale is None:
        LOGGER.warning(
            'the file does not tell how pixels were scaled: they stay 0 to 255; set mean and std '
            'of data_preprocessor'
        )
    mean, std = round(-offset / scale, 6), round(1 / scale, 6)
    return dict(type='ActionDataPreprocessor', mean=[mean] * 3, std=[std] * 3, format_shape='NCTHW')
