"""Comparison of a saved Keras model with the graphs that our modules compute."""

import logging
from collections.abc import Iterator
from itertools import takewhile, zip_longest
from typing import Any, NamedTuple

from cnnlstm_mm.models.backbones.mobilenet_v1 import BLOCKS

from .reader import KerasFile

LOGGER = logging.getLogger(__name__)
SUPPORTED = (
    'Supported: keras.applications.MobileNet(include_top=False), alone or in TimeDistributed; '
    'then ConvLSTM2D and Flatten, Dense(relu), Dense(softmax) or GlobalAveragePooling2D, '
    'Dense(softmax); or average pooling, LSTM and Dense(softmax) with or without a Dense(relu) '
    'before it. Dropout can be anywhere.'
)
# The layers after a MobileNet in TimeDistributed, without Dropout.
TAILS = (
    ('ConvLSTM2D', 'Flatten', 'Dense', 'Dense'),
    ('ConvLSTM2D', 'GlobalAveragePooling2D', 'Dense'),
    ('TimeDistributed GlobalAveragePooling2D', 'LSTM', 'Dense'),
    ('TimeDistributed GlobalAveragePooling2D', 'LSTM', 'Dense', 'Dense'),
)
# What our modules compute where Keras leaves a choice.
FIXED: dict[str, dict[str, Any]] = dict(
    BatchNormalization=dict(epsilon=1e-3),
    ConvLSTM2D=dict(activation='tanh', return_sequences=False),
    GlobalAveragePooling2D=dict(keepdims=False),
    LSTM=dict(
        activation='tanh',
        recurrent_activation='sigmoid',
        return_sequences=False,
        go_backwards=False,
    ),
    ReLU=dict(max_value=6.0, negative_slope=0.0, threshold=0.0),
)
# Options of ConvLSTM2D that ConvLSTM has: its name for each, and Keras's default.
CONV_LSTM_OPTIONS = dict(
    padding=('padding', 'valid'),
    strides=('stride', (1, 1)),
    dilation_rate=('dilation', (1, 1)),
    recurrent_activation=('recurrent_activation', 'sigmoid'),
    go_backwards=('go_backwards', False),
    use_bias=('bias', True),
    dropout=('dropout', 0.0),
    recurrent_dropout=('recurrent_dropout', 0.0),
)


class Layer(NamedTuple):
    """A layer of a chain: its class, after 'TimeDistributed ' inside of one, and its config."""

    kind: str
    config: dict[str, Any]


def read_options(file: KerasFile) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare a model with the known graphs and return what it adds to the weights.

    Dropout that our modules lack, and missing biases that they have, change no scores; they are
    logged, for further training differs. A file of weights alone tells no options.

    Returns:
        Arguments of ConvLSTMNeck, and of the head.

    Raises:
        ValueError: if a layer or an option has no counterpart, or the model branches; all such
            layers are named.
    """
    if file.config is None:
        return {}, {}
    layers = [layer for layer in chain(file.config) if not layer.kind.endswith('InputLayer')]
    kept = [layer for layer in layers if layer.kind.split()[-1] != 'Dropout']
    wrong = differences(kept, file.version)
    if wrong:
        raise ValueError(f'cannot convert: {"; ".join(wrong)}. {SUPPORTED}')
    neck, head, lost = {}, {}, []
    before_last = len(layers) - 2 if layers[-1].kind == 'Dense' else None
    for k, (kind, config) in enumerate(layers):
        name = config['name']
        if kind == 'ConvLSTM2D':
            for option, (ours, default) in CONV_LSTM_OPTIONS.items():
                value = _to_tuples(config.get(option, default))
                if value != default:
                    neck[ours] = value
        elif k == before_last:
            head['dropout_ratio'] = config['rate'] if kind == 'Dropout' else 0.0
        elif kind.split()[-1] == 'Dropout':
            lost.append(f'{name}, a Dropout of {config["rate"]}')
        if kind == 'LSTM':
            masks = [option for option in ('dropout', 'recurrent_dropout') if config.get(option)]
            lost += [f'{option}={config[option]} of {name}' for option in masks]
        if kind in ('Dense', 'LSTM') and not config.get('use_bias', True):
            lost.append(f'use_bias=False of {name}, whose biases are zeros now')
    for option in lost:
        LOGGER.warning('no counterpart for %s: scores are equal, further training differs', option)
    return neck, head


def differences(layers: list[Layer], version: str) -> list[str]:
    """List what distinguishes a chain of layers from the nearest known graph."""
    bare = list(mobilenet())
    wide = [Layer(f'TimeDistributed {kind}', options) for kind, options in bare]
    tails = [[Layer(kind, FIXED.get(kind.split()[-1], {})) for kind in tail] for tail in TAILS]
    graphs: list[list[Layer]] = [bare, [*bare, tails[1][1]], *(wide + tail for tail in tails)]

    def common(graph: list[Layer]) -> tuple[int, int]:
        same = takewhile(bool, (a.kind == b.kind for a, b in zip(graph, layers)))
        return sum(same), -len(graph)

    nearest, wrong = max(graphs, key=common), []
    for layer, known in zip_longest(layers, nearest):
        if layer is None or known is None or layer.kind != known.kind:
            found = f'{layer.config["name"]} is a {layer.kind}' if layer else 'the model ends'
            wrong.append(f'{found}, expected {f"a {known.kind}" if known else "the end"}')
            break
        name = layer.config['name']
        for option, value in dict(known.config, data_format='channels_last').items():
            found = _to_tuples(layer.config.get(option, value))
            if found != value:
                wrong.append(f'{name} has {option}={found!r}, expected {value!r}')
        if layer.config.get('recurrent_activation') == 'hard_sigmoid' and version[:2] == '2.':
            wrong.append(
                f'{name} has the hard_sigmoid of Keras {version}, expected that of Keras 3'
            )
    dense = [layer.config.get('activation') for layer in layers if layer.kind == 'Dense']
    if dense not in ([], ['softmax'], ['relu', 'softmax']):
        wrong.append(f'the Dense layers have the activations {dense}')
    return wrong


def mobilenet() -> Iterator[Layer]:
    """Yield the layers of MobileNet v1 with the options that they must have."""

    def block(kind: str, size: int, stride: int, **options: Any) -> Iterator[Layer]:
        pairs = dict(kernel_size=(size,) * 2, strides=(stride,) * 2, dilation_rate=(1, 1))
        yield Layer(kind, dict(pairs, activation='linear', **options))
        yield Layer('BatchNormalization', FIXED['BatchNormalization'])
        yield Layer('ReLU', FIXED['ReLU'])

    yield from block('Conv2D', 3, 2, padding='same', groups=1)
    for _, stride in BLOCKS:
        if stride == 2:
            yield Layer('ZeroPadding2D', dict(padding=((0, 1), (0, 1))))
        padding = 'same' if stride == 1 else 'valid'
        yield from block('DepthwiseConv2D', 3, stride, padding=padding, depth_multiplier=1)
        yield from block('Conv2D', 1, 1, groups=1)


def chain(model: dict[str, Any], prefix: str = '') -> Iterator[Layer]:
    """Yield the layers of a model in the order in which they run.

    Args:
        model: a layer of Keras's config, with class_name and config.
        prefix: of the kinds.

    Raises:
        ValueError: if the model has no single path.
    """
    kind, config = model['class_name'], model['config']
    if kind == 'TimeDistributed':
        yield from chain(config['layer'], f'{kind} ')
    elif kind in ('Functional', 'Model', 'Sequential'):
        layers = config['layers'] if isinstance(config, dict) else config
        before: list[str] = []
        for layer in layers:
            if kind != 'Sequential' and list(_inputs(layer['inbound_nodes'])) != before:
                raise ValueError(
                    f'cannot convert: the model branches or joins at {layer["name"]}. {SUPPORTED}'
                )
            before = [layer['config']['name']]
            yield from chain(layer, prefix)
        if kind != 'Sequential' and list(_inputs(config['output_layers'])) != before:
            raise ValueError(f'cannot convert: {config["name"]} has several outputs. {SUPPORTED}')
    else:
        yield Layer(prefix + kind, config)


def _inputs(node: Any) -> Iterator[str]:
    """Yield the names of layers in Keras 3's or 2's inbound_nodes."""
    if isinstance(node, dict) and 'keras_history' in node:
        yield node['keras_history'][0]
    elif isinstance(node, list) and len(node) > 2 and isinstance(node[0], str):
        yield node[0]
    elif isinstance(node, (dict, list)):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _inputs(inner)


def _to_tuples(value: Any) -> Any:
    """Turn lists, as JSON has them, into tuples."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list) else value
