"""tools/convert_keras_weights.py: formats, what it says, what it refuses."""

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


@pytest.mark.parametrize('build', [seed_model, lstm_model, mobilenet])
def test_all_formats_hold_the_same(build, tmp_path):
    model = randomize(build())
    results = [convert(save(model, tmp_path / name)) for name in FORMATS]
    for weights, config in results[1:]:
        assert_same(weights, results[0][0])
        assert config == results[0][1]
    MODELS.build(results[0][1]).load_state_dict(results[0][0])


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
    command = shlex.split(re.search('python (.*)', said)[1])
    assert command[:3] == ['tools/test.py', 'configs/mobilenet_convlstm_ucf101.py', str(target)]
    config = Config.fromfile(command[1])
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
    assert 'dense takes 36 inputs, which is not 2x2 pixels of the 6' in said
    assert 'spatial_size=(2,3)' in run_converter(source, tmp_path / 'm.pth', '--spatial-size', 2, 3)


def test_without_h5py(seed_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'h5py', None)
    assert 'pip install h5py' in run_converter(seed_file, tmp_path / 'x.pth', fails=True)


@pytest.mark.parametrize(
    'content, words',
    [
        (None, 'does not exist'),
        (b'version https://git-lfs', r"neither .* begins with b'version https:/"),
        ('zip', r"no \.keras file: it holds \['readme'\]"),
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
        ({'layers/gru/cell/vars/0': (4, 4)}, r'gru \(unknown\), .*\(4, 4\)'),
        ({'layers/conv_lstm2d/cell/vars/0': (3, 3, 256, 20)}, r'conv_lstm2d \(unknown\)'),
        (
            {'layers/conv_lstm2d/cell/vars/0': (3, 3, 255, 24)},
            'conv_lstm2d takes 255 inputs, but the layer before it gives 256',
        ),
        (
            {'layers/dense_1/vars/0': (8, 5)},
            'dense_1 takes 8 inputs, but the layer before it gives 7',
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


@pytest.mark.parametrize(
    'build, words',
    [
        (
            lambda: seed_model(inner=[layers.TimeDistributed(layers.MaxPooling2D(1, name='pool'))]),
            'pool is a MaxPooling2D',
        ),
        (lambda: seed_model(activation='relu'), "activation='relu' and not 'tanh'"),
        (lambda: lstm_model(go_backwards=True), 'go_backwards=True and not False'),
        (lambda: lstm_model(pooling='max'), 'is a GlobalMaxPooling2D'),
        (lambda: mobilenet(pooling='max'), 'is a GlobalMaxPooling2D'),
    ],
)
def test_options_that_do_not_fit(build, words, tmp_path):
    source = save(build(), tmp_path / 'model.keras')
    said = run_converter(source, tmp_path / 'x.pth', fails=True)
    assert re.search(words, said), said
    assert not (tmp_path / 'x.pth').exists()


def test_refuses_the_hard_sigmoid_of_keras_2(tmp_path):
    source = save(seed_model(recurrent_activation='hard_sigmoid'), tmp_path / 'model.h5')
    convert(source)
    with h5py.File(source, 'a') as file:
        file['model_weights'].attrs['keras_version'] = '2.3.1'
    said = run_converter(source, tmp_path / 'x.pth', fails=True)
    assert 'has the hard_sigmoid of Keras 2.3.1' in said
