"""tools/convert_keras_weights.py: formats, what it says, what it refuses."""

import json
import re
import shlex
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch
from helpers.keras_models import (
    keras,
    layers,
    lstm_model,
    mobilenet,
    randomize,
    run_converter,
    seed_model,
)
from mmengine.config import Config, DictAction

from cnnlstm_mm.keras_weights import convert
from cnnlstm_mm.keras_weights.graph import chain
from cnnlstm_mm.resources import find_config
from mmaction.registry import MODELS

FORMATS = ('model.keras', 'model.weights.h5', 'model.h5')


def save(model, path):
    """Save in the format that the file's name asks for."""
    if path.name.endswith('.weights.h5'):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def assert_same(weights, others):
    assert weights.keys() == others.keys()
    for key, weight in weights.items():
        assert torch.equal(weight, others[key]), key


@pytest.fixture(scope='module')
def seed():
    return seed_model()


@pytest.fixture(scope='module')
def seed_file(seed, tmp_path_factory):
    return save(seed, tmp_path_factory.mktemp('seed') / 'seed.weights.h5')


@pytest.mark.slow
@pytest.mark.parametrize('build', [seed_model, lstm_model, mobilenet])
def test_all_formats_hold_the_same(build, tmp_path):
    model = randomize(build())
    results = [convert(save(model, tmp_path / name)) for name in FORMATS]
    for weights, config in results[1:]:
        assert_same(weights, results[0][0])
        assert config == results[0][1]
    MODELS.build(results[0][1]).load_state_dict(results[0][0])


@pytest.mark.slow
def test_a_trained_model(tmp_path):
    model = lstm_model()
    expected, _ = convert(save(model, tmp_path / 'model.weights.h5'))
    model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])
    model.train_on_batch(np.zeros((1, *model.input_shape[1:])), np.zeros(1))
    weights, _ = convert(save(model, tmp_path / 'trained.keras'))
    for key in ('backbone.backbone.conv1.bn.bias', 'neck.lstm.bias_ih_l0', 'cls_head.fc_cls.bias'):
        assert not torch.equal(weights[key], expected[key])


def test_the_random_state_that_early_keras_3_saved(seed_file, tmp_path):
    path = tmp_path / 'model.weights.h5'
    path.write_bytes(seed_file.read_bytes())
    with h5py.File(path, 'a') as file:
        file['layers/dropout/seed_generator/vars/0'] = np.zeros(2, np.uint32)
    assert_same(convert(path)[0], convert(seed_file)[0])


def test_the_download_as_keras_2_wrote_it(tmp_path):
    model = randomize(mobilenet())
    expected, _ = convert(save(model, tmp_path / 'new.weights.h5'))
    old = tmp_path / 'old.h5'
    with h5py.File(old, 'w') as file:
        file.attrs['layer_names'] = [n.name.encode() for n in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = []
            for weight in layer.weights:
                kind = weight.name
                if isinstance(layer, layers.DepthwiseConv2D):
                    kind = 'depthwise_kernel'
                names.append(f'{layer.name}/{kind}:0')
                group[names[-1]] = keras.ops.convert_to_numpy(weight)
            group.attrs['weight_names'] = [n.encode() for n in names]
    assert_same(convert(old)[0], expected)


def test_prints_a_command_that_loads(seed, seed_file, tmp_path):
    target = tmp_path / 'new_folder' / 'seed.pth'
    said = run_converter(seed_file, target)
    assert f'{len(convert(seed_file)[0])} arrays' in said
    command = shlex.split(re.search('cnnlstm-mm (.*)', said)[1])
    assert command[:3] == ['test', 'mobilenet_convlstm_ucf101', str(target)]
    config = Config.fromfile(find_config(command[1]))
    config.merge_from_dict(
        {
            key: DictAction._parse_iterable(value)
            for key, _, value in (o.partition('=') for o in command[4:])
        }
    )
    checkpoint = torch.load(target, weights_only=True)
    MODELS.build(config.model).load_state_dict(checkpoint['state_dict'])
    assert checkpoint['meta']['keras_file'] == 'seed.weights.h5'
    MODELS.build(checkpoint['meta']['model'])


def test_prints_how_to_load_a_backbone(tmp_path):
    source = save(randomize(mobilenet(0.35)), tmp_path / 'm.weights.h5')
    said = run_converter(source, tmp_path / 'm.pth')
    line = re.search(r'backbone=(dict\(.*\))', said)[1]
    model = MODELS.build(eval(line))
    model.init_weights()
    assert_same(model.state_dict(), convert(source)[0])


def test_a_map_that_is_not_square(tmp_path):
    source = save(seed_model((2, 128, 160)), tmp_path / 'm.weights.h5')
    said = run_converter(source, tmp_path / 'm.pth', fails=True)
    assert 'dense takes 36 inputs, expected 2x2 pixels of 6' in said
    assert 'spatial_size=(2,3)' in run_converter(source, tmp_path / 'm.pth', '--spatial-size', 2, 3)


def test_without_h5py(seed_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    assert 'pip install h5py' in run_converter(seed_file, tmp_path / 'x.pth', fails=True)


@pytest.mark.parametrize(
    'content, words',
    [
        (None, 'expected a file of Keras, got .*: no such file'),
        (
            b'version https://git-lfs',
            r"expected a .keras or HDF5 file, .* begins with b'version https:/",
        ),
        ('zip', r"expected a .keras file .* zip archive with \['readme'\]"),
        ('cut', 'damaged or cut short'),
        ('empty', r'no layer of a MobileNet v1, but \[\]'),
    ],
)
def test_files_that_are_no_weights(content, words, seed_file, tmp_path):
    path = tmp_path / 'file.h5'
    if content == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('readme', '')
    elif content == 'empty':
        h5py.File(path, 'w').close()
    elif content is not None:
        path.write_bytes(seed_file.read_bytes()[:100_000] if content == 'cut' else content)
    said = run_converter(path, tmp_path / 'x.pth', fails=True)
    assert re.search(words, said), said


TREE = 'layers/time_distributed/layer/layers'


@pytest.mark.parametrize(
    'change, words',
    [
        ({f'{TREE}/depthwise_conv2d_4/vars/0': None}, r"missing: \['conv_dw_5'\]"),
        (
            {f'{TREE}/conv2d_2/vars/0': (1, 1, 16, 33)},
            r'conv_pw_2 has \[33, 16, 1, 1\] for layer2.pointwise_conv.conv.weight, '
            r'which takes \[32, 16, 1, 1\]',
        ),
        (
            {f'{TREE}/conv2d_2/vars/1': (32,)},
            r'conv_pw_2 has \[32\] for layer2.pointwise_conv.conv.bias, .* no array',
        ),
        (
            {f'{TREE}/batch_normalization_8/vars/3': None},
            'nothing for layer4.pointwise_conv.bn.running_var',
        ),
        ({'layers/gru/cell/vars/0': (4, 4)}, r'gru \(Dense\), .*\(4, 4\)'),
        ({'layers/conv_lstm2d/cell/vars/0': (3, 3, 256, 20)}, r'conv_lstm2d \(unknown\)'),
        (
            {'layers/conv_lstm2d/cell/vars/0': (3, 3, 255, 24)},
            'conv_lstm2d takes 255 inputs, expected 256 as the layer before',
        ),
        (
            {'layers/dense_1/vars/0': (8, 5)},
            'dense_1 takes 8 inputs, expected 7 as the layer before',
        ),
        ({'layers/dense_2/vars/0': (5, 5), 'layers/dense_2/vars/1': (5,)}, r'dense_2 \(Dense\)'),
    ],
)
def test_layers_that_do_not_fit(change, words, seed_file, tmp_path):
    path = tmp_path / 'changed.weights.h5'
    path.write_bytes(seed_file.read_bytes())
    with h5py.File(path, 'a') as file:
        for name, shape in change.items():
            if name in file:
                del file[name]
            if shape is not None:
                file[name] = np.zeros(shape, np.float32)
    said = run_converter(path, tmp_path / 'x.pth', fails=True)
    assert re.search(words, said), said


def between(layer):
    """A layer on each frame between MobileNet and ConvLSTM2D."""
    return seed_model(inner=[layers.TimeDistributed(layer)])


def changed_mobilenet(name, **options):
    """The seed with other options of one layer in its MobileNet."""

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config({**config, **options} if layer.name == name else config)

    cnn = keras.models.clone_model(mobilenet(0.25, (128, 128)), clone_function=clone)
    return seed_model(cnn=cnn)


def branching():
    """Two LSTMs over the same features."""
    inputs = layers.Input((3, 64, 64, 3))
    x = layers.TimeDistributed(mobilenet(0.25, (64, 64), pooling='avg'))(inputs)
    x = layers.Add()([layers.LSTM(6)(x), layers.LSTM(6)(x)])
    return keras.Model(inputs, layers.Dense(5, activation='softmax')(x))


def two_outputs():
    model = lstm_model()
    return keras.Model(model.inputs, [model.layers[-3].output, model.output])


def pooled_twice():
    tail = [layers.GlobalAveragePooling2D(), *map(layers.Dense, (7, 5))]
    return seed_model(tail=tail)


@pytest.mark.slow
@pytest.mark.parametrize(
    'build, words',
    [
        (lambda: between(layers.ReLU(max_value=0.5)), 'is a TimeDistributed ReLU, expected a Conv'),
        (lambda: between(layers.ZeroPadding2D(1)), 'is a TimeDistributed ZeroPadding2D, expected'),
        (lambda: changed_mobilenet('conv_pw_3_relu', max_value=None), 'relu has max_value=None, e'),
        (
            lambda: changed_mobilenet('conv_dw_2', strides=1),
            r'conv_dw_2 has strides=\(1, 1\), expe',
        ),
        (
            lambda: changed_mobilenet('conv1_bn', epsilon=1e-2),
            'conv1_bn has epsilon=0.01, expected',
        ),
        (
            lambda: lstm_model(recurrent_activation='relu'),
            "has recurrent_activation='relu', expected",
        ),
        (pooled_twice, "dense.* has activation='linear', expected 'relu'"),
        (branching, 'branches or joins at lstm'),
        (two_outputs, 'has several outputs'),
        (
            lambda: seed_model(inner=[layers.TimeDistributed(layers.MaxPooling2D(1, name='pool'))]),
            'pool is a TimeDistributed MaxPooling2D, expected a ConvLSTM2D',
        ),
        (lambda: seed_model(activation='elu'), "conv_lstm2d.* has activation='elu', expected one"),
        (lambda: lstm_model(go_backwards=True), 'go_backwards=True, expected False'),
        (lambda: mobilenet(pooling='max'), 'is a GlobalMaxPooling2D'),
    ],
)
def test_options_that_do_not_fit(build, words, tmp_path):
    source = save(build(), tmp_path / 'model.keras')
    said = run_converter(source, tmp_path / 'x.pth', fails=True)
    assert re.search(words, said), said
    assert not (tmp_path / 'x.pth').exists()


@pytest.mark.parametrize('weights_alone', [False, True])
def test_the_hard_sigmoid_of_keras_2(weights_alone, tmp_path, caplog):
    """Its default, where a file of weights does not tell."""
    source = save(seed_model(recurrent_activation='hard_sigmoid'), tmp_path / 'model.h5')
    assert convert(source)[1]['neck']['recurrent_activation'] == 'hard_sigmoid'
    with h5py.File(source, 'a') as file:
        file['model_weights'].attrs['keras_version'] = '2.3.1'
        if weights_alone:
            del file.attrs['model_config']
    assert convert(source)[1]['neck']['recurrent_activation'] == 'hard_sigmoid_keras2'
    assert ('taken to have its default gates' in caplog.text) == weights_alone


def test_the_mobilenet_of_keras_2_pads_before_its_first_layer(tmp_path):
    """Which comes to the same for frames of even height and width."""
    source = save(seed_model(recurrent_activation='hard_sigmoid'), tmp_path / 'model.h5')
    weights, _ = convert(source)
    with h5py.File(source, 'a') as file:
        model = json.loads(file.attrs['model_config'])
        (wrapper,) = (x for x in model['config']['layers'] if x['class_name'] == 'TimeDistributed')
        inner = wrapper['config']['layer']
        inner['class_name'] = 'Model'
        place = [layer['name'] for layer in inner['config']['layers']].index('conv1')
        first = inner['config']['layers'][place]
        pad = dict(name='conv1_pad', padding=[[0, 1], [0, 1]], data_format='channels_last')
        pad = dict(class_name='ZeroPadding2D', name='conv1_pad', config=pad)
        pad['inbound_nodes'] = first['inbound_nodes']
        first['inbound_nodes'] = [[['conv1_pad', 0, 0, {}]]]
        first['config']['padding'] = 'valid'
        inner['config']['layers'].insert(place, pad)
        file.attrs['model_config'] = json.dumps(model)
        file['model_weights'].attrs['keras_version'] = '2.2.4'
    again, config = convert(source)
    assert_same(again, weights)
    assert config['neck']['recurrent_activation'] == 'hard_sigmoid_keras2'


def test_the_printed_command_replaces_a_head_of_another_type(tmp_path):
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(5, activation='softmax')]
    source = save(seed_model(tail=tail), tmp_path / 'model.keras')
    said = run_converter(source, tmp_path / 'm.pth')
    command = shlex.split(re.search('cnnlstm-mm (.*)', said)[1])
    config = Config.fromfile(find_config(command[1]))
    options = dict(option.split('=', 1) for option in command[4:])
    config.merge_from_dict({k: DictAction._parse_iterable(v) for k, v in options.items()})
    model = MODELS.build(config.model)
    assert type(model.cls_head).__name__ == 'I3DHead'
    model.load_state_dict(torch.load(tmp_path / 'm.pth', weights_only=True)['state_dict'])


@pytest.mark.slow
def test_dropout_is_carried_over_or_logged(tmp_path, caplog):
    tail = [layers.Flatten(), layers.Dropout(0.1), layers.Dense(7, activation='relu')]
    tail += [layers.Dropout(0.2), layers.Dense(5, activation='softmax')]
    model = seed_model(tail=tail, dropout=0.3, recurrent_dropout=0.4)
    weights, config = convert(save(model, tmp_path / 'model.keras'))
    assert config['neck']['dropout'] == 0.3 and config['neck']['recurrent_dropout'] == 0.4
    assert config['cls_head']['dropout_ratio'] == 0.2
    MODELS.build(config).load_state_dict(weights)
    (record,) = caplog.records
    assert re.search(r'no counterpart for dropout\S*, a Dropout of 0.1:', record.getMessage())
    caplog.clear()
    _, config = convert(save(lstm_model(dropout=0.3, use_bias=False), tmp_path / 'm.keras'))
    assert 'dropout_ratio' not in config['cls_head']  # 0.5 is the default
    said = caplog.text
    assert 'for dropout=0.3 of lstm' in said and 'for use_bias=False of lstm' in said
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(5, activation='softmax')]
    _, config = convert(save(seed_model(tail=tail), tmp_path / 'm.keras'))
    assert config['cls_head']['dropout_ratio'] == 0


def test_the_graphs_of_keras_2():
    """Which wrote the connections, and Sequential, in another way."""
    names = ['input', 'conv', 'relu']
    kinds = ['InputLayer', 'Conv2D', 'ReLU']
    nodes = [[], [[['input', 0, 0, {}]]], [[['conv', 0, 0, {}]]]]
    listed = [
        dict(class_name=kind, name=name, config=dict(name=name), inbound_nodes=node)
        for kind, name, node in zip(kinds, names, nodes)
    ]
    config = dict(name='model', layers=listed, output_layers=[['relu', 0, 0]])
    model = dict(class_name='Model', config=config)
    assert [layer.kind for layer in chain(model)] == kinds
    assert [layer.kind for layer in chain(dict(class_name='Sequential', config=listed))] == kinds
    listed[2]['inbound_nodes'] = [[['conv', 0, 0, {}], ['input', 0, 0, {}]]]
    with pytest.raises(ValueError, match='joins at relu'):
        list(chain(model))
