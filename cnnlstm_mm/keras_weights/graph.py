"""Layers of a saved Keras model, in their order."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from cnnlstm_mm.models.backbones.mobilenet_v1 import BLOCKS

SUPPORTED = (
    'Supported: keras.applications.MobileNet(include_top=False), alone or in TimeDistributed, or '
    'no CNN; then a stack of ConvLSTM2D and Flatten or pooling over the frame; or pooling or '
    'Flatten of each frame, with or without a Dense(relu), and a stack of LSTM; Bidirectional or '
    'not, with pooling over time or not; then Dense(softmax) with or without a Dense(relu) before '
    'it. Dropout can be anywhere.'
)
# What our modules compute where Keras leaves a choice.
FIXED: dict[str, dict[str, Any]] = dict(
    BatchNormalization=dict(epsilon=1e-3),
    ReLU=dict(max_value=6.0, negative_slope=0.0, threshold=0.0),
)
DROPOUT = ('Dropout', *(f'SpatialDropout{n}D' for n in (1, 2, 3)))
# What the two directions of a Bidirectional layer have in common.
BOTH_WAYS = (
    'units',
    'filters',
    'kernel_size',
    'padding',
    'strides',
    'dilation_rate',
    'activation',
    'recurrent_activation',
    'use_bias',
)


class Layer(NamedTuple):
    """A layer of a chain: its class, after 'TimeDistributed ' inside of one, and its config."""

    kind: str
    config: dict[str, Any]


def is_dropout(layer: Layer) -> bool:
    """Whether a layer does nothing but in training."""
    return layer.kind.split()[-1] in DROPOUT


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
    elif kind == 'Bidirectional':
        layer, other = config['layer'], config.get('backward_layer') or config['layer']
        same = all(layer['config'].get(o) == other['config'].get(o) for o in BOTH_WAYS)
        name = layer['class_name'] if same else 'with a backward layer of other options'
        options = dict(name=config['name'], merge_mode=config.get('merge_mode', 'concat'))
        yield Layer(f'{prefix}{kind} {name}', dict(layer['config'], **options))
    else:
        yield Layer(prefix + kind, config)


def join_activations(layers: Iterator[Layer]) -> Iterator[Layer]:
    """Yield layers, Activation and Softmax joined with the linear Dense before them."""
    before = None
    for layer in layers:
        linear = before and before.kind == 'Dense' and before.config.get('activation') == 'linear'
        if linear and layer.kind in ('Activation', 'Softmax'):
            activation = layer.config.get('activation', 'softmax')
            before = Layer('Dense', dict(before.config, activation=activation))
            continue
        if before:
            yield before
        before = layer
    if before:
        yield before


def _inputs(node: Any) -> Iterator[str]:
    """Yield the names of layers in Keras 3's or 2's inbound_nodes."""
    if isinstance(node, dict) and 'keras_history' in node:
        yield node['keras_history'][0]
    elif isinstance(node, list) and len(node) > 2 and isinstance(node[0], str):
        yield node[0]
    elif isinstance(node, (dict, list)):
        for inner in node.values() if isinstance(node, dict) else node:
            yield from _inputs(inner)


def to_tuples(value: Any) -> Any:
    """Turn lists, as JSON has them, into tuples."""
    return tuple(map(to_tuples, value)) if isinstance(value, list) else value
