"""Keras's options that change what a model computes with its weights."""

from typing import Any

from .reader import KerasFile

SUPPORTED = (
    'Supported: keras.applications.MobileNet(include_top=False), alone or in '
    'TimeDistributed, then ConvLSTM2D, Flatten, Dense(relu), Dense(softmax), '
    'or average pooling, LSTM, Dense(softmax).'
)

# What our modules compute, where Keras leaves a choice.
FIXED: dict[str, dict[str, Any]] = dict(
    BatchNormalization=dict(epsilon=1e-3),
    ConvLSTM2D=dict(activation='tanh', return_sequences=False),
    LSTM=dict(
        activation='tanh',
        recurrent_activation='sigmoid',
        return_sequences=False,
        go_backwards=False,
    ),
)
HARMLESS = {
    'Functional',
    'Model',
    'Sequential',
    'InputLayer',
    'TimeDistributed',
    'Conv2D',
    'DepthwiseConv2D',
    'ReLU',
    'ZeroPadding2D',
    'Flatten',
    'Dropout',
    'Dense',
    'GlobalAveragePooling2D',
}
CONV_LSTM_OPTIONS = dict(
    padding='padding',
    strides='stride',
    dilation_rate='dilation',
    recurrent_activation='recurrent_activation',
    go_backwards='go_backwards',
)


def check_options(file: KerasFile) -> None:
    """Refuse a model that computes something else than our modules.

    A file of weights alone says nothing of options and passes.

    Args:
        file (KerasFile): The model.

    Raises:
        ValueError: If a layer's class or option has no counterpart; all such
            layers are named.
    """
    wrong = []
    for kind, config in file.configs:
        if kind not in HARMLESS and kind not in FIXED:
            wrong.append(f'{config["name"]} is a {kind}')
        for option, value in FIXED.get(kind, {}).items():
            if config.get(option, value) != value:
                wrong.append(f'{config["name"]} has {option}={config[option]!r} and not {value!r}')
        if config.get('recurrent_activation') == 'hard_sigmoid' and file.version.startswith('2.'):
            wrong.append(
                f'{config["name"]} has the hard_sigmoid of Keras '
                f'{file.version}, which Keras 3 computes otherwise'
            )
    activations = [c['activation'] for k, c in file.configs if k == 'Dense']
    if activations not in ([], ['softmax'], ['relu', 'softmax']):
        wrong.append(f'the Dense layers have the activations {activations}')
    if wrong:
        raise ValueError(f'cannot convert: {"; ".join(wrong)}. {SUPPORTED}')


def conv_lstm_options(file: KerasFile) -> dict[str, Any]:
    """Options of the model's ConvLSTM2D.

    Args:
        file (KerasFile): A model with a ConvLSTM2D.

    Returns:
        dict[str, Any]: Arguments of ConvLSTMNeck that differ from the
        defaults of Keras; none for a file of weights alone.
    """
    defaults = dict(
        padding='valid',
        stride=(1, 1),
        dilation=(1, 1),
        recurrent_activation='sigmoid',
        go_backwards=False,
    )
    options = {}
    for kind, config in file.configs:
        if kind == 'ConvLSTM2D':
            for name, ours in CONV_LSTM_OPTIONS.items():
                value = config.get(name, defaults[ours])
                value = tuple(value) if isinstance(value, list) else value
                if value != defaults[ours]:
                    options[ours] = value
    return options
