"""What our modules need to know of the layers that follow a MobileNet."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .graph import SUPPORTED, Layer, chain, is_dropout, join_activations, mobilenet, to_tuples
from .reader import KerasFile

LOGGER = logging.getLogger(__name__)
DEFAULT_DROPOUT = 0.5  # of our heads
POOLS = dict(GlobalAveragePooling='avg', GlobalMaxPooling='max', Flatten='flatten')
# Options of ConvLSTM2D that ConvLSTM has: its name for each, and Keras's default.
OPTIONS = dict(
    padding=('padding', 'valid'), strides=('stride', (1, 1)), dilation_rate=('dilation', (1, 1))
)
# These are equal in all layers of a stack.
SHARED = dict(
    activation=('activation', 'tanh'),
    recurrent_activation=('recurrent_activation', 'sigmoid'),
    dropout=('dropout', 0.0),
    recurrent_dropout=('recurrent_dropout', 0.0),
)


@dataclass
class Plan:
    """Layers after a MobileNet, and the arguments that they add to those of the weights.

    Attributes:
        mobilenet: Whether there is one.
        recurrent: Names of the recurrent layers.
        bidirectional: Whether they run in both directions.
        frame_dense: Whether a Dense layer reads each frame before the recurrence.
        neck: Arguments of the neck.
        pool: 'avg', 'max' or 'flatten' between recurrence and Dense layers; None: the weights tell.
        head: Arguments of the head.
        scale: Of a Rescaling layer before everything, (scale, offset).
    """

    mobilenet: bool = True
    recurrent: list[str] = field(default_factory=list)
    bidirectional: bool = False
    frame_dense: bool = False
    neck: dict[str, Any] = field(default_factory=dict)
    pool: str | None = None
    head: dict[str, Any] = field(default_factory=dict)
    scale: tuple[float, float] | None = None

    @property
    def directions(self) -> int:
        """Of the recurrent layers."""
        return 2 if self.bidirectional else 1


class MisfitError(Exception):
    """A layer that none of our modules computes; it is named already."""


class Reader:
    """Reads a chain of layers from the front; what does not fit is named in ``wrong``."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers, self.place = layers, 0
        self.wrong: list[str] = []

    def peek(self) -> Layer | None:
        """Following layer, if there is one."""
        return self.layers[self.place] if self.place < len(self.layers) else None

    def take(self, *kinds: str, **options: Any) -> Layer | None:
        """Following layer, if it is one of ``kinds``; its options must be these."""
        layer = self.peek()
        if layer is None or layer.kind not in kinds:
            return None
        self.place += 1
        self.check(layer, '', **options, data_format='channels_last')
        return layer

    def check(self, layer: Layer, where: str, **options: Any) -> None:
        """Name the options of a layer that are not these; ``where`` ends the message."""
        for option, value in options.items():
            found = to_tuples(layer.config.get(option, value))
            if found != value:
                name = layer.config['name']
                self.wrong.append(f'{name} has {option}={found!r}, expected {value!r}{where}')

    def expect(self, *kinds: str, **options: Any) -> Layer:
        """As ``take``; another layer is named."""
        layer = self.take(*kinds, **options)
        return layer or self.refuse(f'a {" or ".join(kinds)}')

    def refuse(self, expected: str) -> NoReturn:
        """Name the following layer, where ``expected`` should be."""
        layer = self.peek()
        found = f'{layer.config["name"]} is a {layer.kind}' if layer else 'the model ends'
        self.wrong.append(f'{found}, expected {expected}')
        raise MisfitError


def read_plan(file: KerasFile) -> Plan | None:
    """Compare a model with what our modules compute.

    Dropout that our modules lack, and missing biases that they have, change no scores; they are
    logged, for further training differs.

    Returns:
        None for a file of weights alone, which tells no options.

    Raises:
        ValueError: if a layer or an option has no counterpart, or the model branches; all such
            options are named, and the first such layer.
    """
    if file.config is None:
        return None
    layers = [layer for layer in chain(file.config) if not layer.kind.endswith('InputLayer')]
    kept = list(join_activations(layer for layer in layers if not is_dropout(layer)))
    reader, plan = Reader(kept), Plan()
    with suppress(MisfitError):
        _read(reader, plan, file.version)
    if reader.wrong:
        raise ValueError(f'cannot convert: {"; ".join(reader.wrong)}. {SUPPORTED}')
    _read_dropout(layers, plan)
    return plan


def _read(reader: Reader, plan: Plan, version: str) -> None:
    rescaling = reader.take('Rescaling', 'TimeDistributed Rescaling')
    if rescaling:
        plan.scale = rescaling.config['scale'], rescaling.config.get('offset', 0.0)
    first = reader.peek()
    prefix = 'TimeDistributed ' if first and first.kind.startswith('TimeDistributed ') else ''
    padded = reader.take(f'{prefix}ZeroPadding2D', padding=((0, 1), (0, 1)))
    plan.mobilenet = bool(padded) or (first is not None and first.kind == f'{prefix}Conv2D')
    if plan.mobilenet:
        for k, (kind, options) in enumerate(mobilenet()):
            if padded and k == 0:  # as Keras 2 had it
                options = dict(options, padding='valid')
                LOGGER.warning('conv1_pad: scores are equal for frames of even height and width')
            reader.expect(prefix + kind, **options)
        if not prefix:
            reader.take('GlobalAveragePooling2D', keepdims=False)
            if reader.peek():
                reader.refuse('the end')
            return
    pool = reader.take(
        *(f'TimeDistributed {name}' for name in ('GlobalAveragePooling2D', 'GlobalMaxPooling2D')),
        keepdims=False,
    ) or reader.take('TimeDistributed Flatten')
    if pool:
        _read_lstm(reader, plan, pool, version)
    else:
        _read_conv_lstm(reader, plan, version)
    _read_dense(reader, plan)


def _read_lstm(reader: Reader, plan: Plan, pool: Layer, version: str) -> None:
    plan.neck['spatial_pool'] = _pool(pool)
    plan.frame_dense = bool(reader.take('TimeDistributed Dense', activation='relu'))
    stack = _read_stack(reader, plan, 'LSTM', version)
    for layer in stack:
        reader.check(layer, '', go_backwards=False)
    plan.neck['temporal_pool'] = _over_time(reader, stack, '1D')
    for name in ('dropout', 'recurrent_dropout'):
        plan.neck.pop(name, None)


def _read_conv_lstm(reader: Reader, plan: Plan, version: str) -> None:
    stack = _read_stack(reader, plan, 'ConvLSTM2D', version)
    first = stack[0].config
    for option, (ours, default) in OPTIONS.items():
        value = to_tuples(first.get(option, default))
        if value != default:
            plan.neck[ours] = value
    deeper = dict(
        padding='same',
        strides=(1, 1),
        dilation_rate=(1, 1),
        kernel_size=to_tuples(first['kernel_size']),
        go_backwards=False,  # it reads what the first one returns, in its order
    )
    for layer in stack[1:]:
        reader.check(layer, ' in a deeper ConvLSTM2D', **deeper)
    if first.get('go_backwards'):
        plan.neck['go_backwards'] = True
    mode = _over_time(reader, stack, '3D')
    plan.neck['return_mode'] = mode
    if mode == 'last':
        pools = ('Flatten', 'GlobalAveragePooling2D', 'GlobalMaxPooling2D')
        plan.pool = _pool(reader.expect(*pools))
    else:
        plan.pool = dict(mean='avg', max='max')[mode]


def _read_stack(reader: Reader, plan: Plan, kind: str, version: str) -> list[Layer]:
    """Layers of a stack, all but the last returning sequences."""
    stack: list[Layer] = []
    kinds: tuple[str, ...] = (kind, f'Bidirectional {kind}')
    while layer := reader.take(*kinds, merge_mode='concat', return_state=False):
        stack.append(layer)
        kinds = (layer.kind,)
        if not layer.config.get('return_sequences'):
            break
    if not stack:
        reader.refuse(f'a {kind}')
    plan.recurrent = [layer.config['name'] for layer in stack]
    plan.bidirectional = kinds[0].startswith('Bidirectional')
    if plan.bidirectional:
        plan.neck['bidirectional'] = True
    for option, (ours, default) in SHARED.items():
        values = [_shared(layer, option, default, version) for layer in stack]
        if any(value != values[0] for value in values):
            if 'activation' in option:
                name, value = plan.recurrent[-1], values[-1]
                reader.wrong.append(
                    f'{name} has {option}={value!r}, expected {values[0]!r} as the first {kind}'
                )
            else:
                _lose(f'{option}={values} of {plan.recurrent}')
        elif values[0] != default:
            known = dict(
                activation=('tanh', 'relu'),
                recurrent_activation=('sigmoid', 'hard_sigmoid', 'hard_sigmoid_keras2'),
            ).get(option, (values[0],))
            if values[0] not in known:
                reader.wrong.append(
                    f'{plan.recurrent[0]} has {option}={values[0]!r}, expected one of {known}'
                )
            plan.neck[ours] = values[0]
    return stack


def _shared(layer: Layer, option: str, default: Any, version: str) -> Any:
    value = to_tuples(layer.config.get(option, default))
    old = option == 'recurrent_activation' and version.startswith('2.')
    return 'hard_sigmoid_keras2' if old and value == 'hard_sigmoid' else value


def _over_time(reader: Reader, stack: list[Layer], dimensions: str) -> str:
    """How the steps of the last recurrent layer become one."""
    if not stack[-1].config.get('return_sequences'):
        return 'last'
    pools = {f'GlobalAveragePooling{dimensions}': 'mean', f'GlobalMaxPooling{dimensions}': 'max'}
    layer = reader.expect(stack[-1].kind, *pools, keepdims=False)
    return pools[layer.kind]


def _read_dense(reader: Reader, plan: Plan) -> None:
    layer = reader.expect('Dense')
    if following := reader.take('Dense'):
        if layer.config.get('activation') != 'relu':
            name, found = layer.config['name'], layer.config.get('activation')
            reader.wrong.append(f"{name} has activation={found!r}, expected 'relu'")
        layer = following
    if reader.peek():
        reader.refuse('the end')
    name, activation = layer.config['name'], layer.config.get('activation')
    scores = dict(softmax='prob', linear='score')
    if activation not in scores:
        reader.wrong.append(
            f'{name} has activation={activation!r}, expected one of {(*scores,)} at the end'
        )
    plan.head['average_clips'] = scores.get(str(activation), 'prob')


def _read_dropout(layers: list[Layer], plan: Plan) -> None:
    """The dropout before the last Dense layer is the head's; log what has no counterpart."""
    dense = [k for k, layer in enumerate(layers) if layer.kind == 'Dense']
    before_last = dense[-1] - 1 if dense else -1
    if dense:
        before = layers[before_last]
        rate = before.config.get('rate', 0.0) if is_dropout(before) else 0.0
        if rate != DEFAULT_DROPOUT:
            plan.head['dropout_ratio'] = rate
    for k, layer in enumerate(layers):
        name, config, kind = layer.config['name'], layer.config, layer.kind.split()[-1]
        if is_dropout(layer) and k != before_last:
            _lose(f'{name}, a {kind} of {config["rate"]}')
        if kind == 'LSTM':
            for option in ('dropout', 'recurrent_dropout'):
                if config.get(option):
                    _lose(f'{option}={config[option]} of {name}')
        if kind in ('Dense', 'LSTM') and not config.get('use_bias', True):
            _lose(f'use_bias=False of {name}, whose biases are zeros now')


def _lose(option: str) -> None:
    LOGGER.warning('no counterpart for %s: scores are equal, further training differs', option)


def _pool(layer: Layer) -> str:
    return POOLS[layer.kind.split()[-1].removesuffix('2D')]
