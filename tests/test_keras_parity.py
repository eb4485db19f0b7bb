"""Our modules with converted weights against Keras itself, in float32."""

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
from helpers.support import ROOT
from mmengine.config import Config
from mmengine.runner import load_checkpoint

from cnnlstm_mm.keras_weights import convert
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample

TOLERANCE = 1e-5


def relative_error(ours, theirs):
    ours, theirs = (np.asarray(a, np.float64) for a in (ours, theirs))
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def keras_output(model, x):
    """``x`` and the result are channels-last arrays."""
    return keras.ops.convert_to_numpy(model(x, training=False))


def features(backbone, images):
    """[N, H, W, 3] -> [N, h, w, C], by a backbone of ours."""
    with torch.no_grad():
        x = backbone(torch.from_numpy(images).permute(0, 3, 1, 2))
    return x.permute(0, 2, 3, 1)


def numbers(model):
    """Parameters and batch-norm statistics, which Keras counts as one."""
    return sum(v.numel() for k, v in model.state_dict().items() if 'num_batches_tracked' not in k)


def clips(shape, count=2):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (count, *shape, 3), dtype=np.uint8)


def check_recognizer(keras_model, model, videos):
    """Scores of whole videos, and of two whole videos at once."""
    model.eval()
    data = dict(
        inputs=[torch.from_numpy(v).permute(3, 0, 1, 2)[None] for v in videos],
        data_samples=[ActionDataSample() for _ in videos],
    )
    with torch.no_grad():
        scores = [s.pred_score.numpy() for s in model.test_step(data)]
    wanted = keras_output(keras_model, videos.astype(np.float32) / 127.5 - 1)
    assert np.ptp(wanted) > 0.05, 'scores all alike would prove nothing'
    assert relative_error(scores, wanted) <= TOLERANCE


@pytest.mark.parametrize(
    'alpha, sizes',
    [(1.0, [(224, 224), (127, 97)]), (0.5, [(97, 130), (33, 47)]), (0.35, [(64, 96)])],
)
def test_mobilenet(tmp_path, alpha, sizes):
    theirs = randomize(mobilenet(alpha))
    theirs.save_weights(tmp_path / 'mobilenet.weights.h5')
    weights, config = convert(tmp_path / 'mobilenet.weights.h5')
    ours = MODELS.build(config).eval()
    ours.load_state_dict(weights)
    assert numbers(ours) == theirs.count_params()
    for size in sizes:
        x = np.random.default_rng(2).uniform(-1, 1, (1, *size, 3))
        x = x.astype(np.float32)
        error = relative_error(features(ours, x), keras_output(theirs, x))
        assert error <= TOLERANCE, size


@pytest.mark.slow
def test_downloaded_mobilenet(shared, tmp_path):
    source = shared / 'weights' / 'mobilenet_1_0_224_tf_no_top.h5'
    target = tmp_path / 'mobilenet_v1.pth'
    run_converter(source, target)
    ours = MODELS.build(
        dict(type='MobileNetV1', init_cfg=dict(type='Pretrained', checkpoint=str(target)))
    )
    ours.init_weights()
    ours.eval()
    theirs = keras.applications.MobileNet(include_top=False, weights=str(source))
    x = np.random.default_rng(2).uniform(-1, 1, (1, 224, 224, 3))
    x = x.astype(np.float32)
    assert relative_error(features(ours, x), keras_output(theirs, x)) <= TOLERANCE


@pytest.mark.slow
def test_the_seed_itself_in_its_config(tmp_path):
    # Not 32 frames, for which Keras takes a minute: the weights are the same.
    clip = (3, 224, 224)
    theirs = seed_model(clip, 1.0, 256, 256, 101)
    theirs.save(tmp_path / 'seed.keras')
    weights, _ = convert(tmp_path / 'seed.keras')
    torch.save(dict(state_dict=weights), tmp_path / 'seed.pth')
    config = Config.fromfile(ROOT / 'configs/mobilenet_convlstm_ucf101.py')
    ours = MODELS.build(config.model)
    load_checkpoint(ours, str(tmp_path / 'seed.pth'), strict=True)
    assert numbers(ours) == theirs.count_params()
    check_recognizer(theirs, ours, clips(clip, 1))


@pytest.mark.parametrize(
    'options, spatial_size',
    [
        (dict(clip=(3, 128, 160)), (2, 3)),
        (
            dict(
                clip=(3, 96, 96),
                kernel=(3, 1),
                padding='same',
                strides=2,
                recurrent_activation='hard_sigmoid',
            ),
            None,
        ),
        (dict(clip=(3, 96, 96), padding='same', dilation_rate=2, go_backwards=True), None),
    ],
)
def test_seed_model(tmp_path, options, spatial_size):
    theirs = seed_model(**options)
    theirs.save(tmp_path / 'seed.keras')
    weights, config = convert(tmp_path / 'seed.keras', spatial_size)
    ours = MODELS.build(config)
    ours.load_state_dict(weights)
    assert numbers(ours) == theirs.count_params()
    check_recognizer(theirs, ours, clips(theirs.input_shape[1:4]))


@pytest.mark.parametrize(
    'options', [dict(), dict(pooling=None), dict(dense=[4]), dict(use_bias=False, bias=False)]
)
def test_lstm_model(tmp_path, options):
    theirs = lstm_model(**options)
    theirs.save(tmp_path / 'lstm.keras')
    weights, config = convert(tmp_path / 'lstm.keras')
    ours = MODELS.build(config)
    ours.load_state_dict(weights)
    # nn.LSTM has a second bias of 4 gates.
    more = 4 * ours.neck.lstm.hidden_size
    if not options.get('bias', True):
        more += more + ours.cls_head.num_classes
    assert numbers(ours) == theirs.count_params() + more
    check_recognizer(theirs, ours, clips(theirs.input_shape[1:4]))


@pytest.mark.parametrize('name', ['m.keras', 'm.weights.h5'])
def test_average_pooling_after_a_conv_lstm_without_bias(tmp_path, name):
    tail = [layers.GlobalAveragePooling2D(), layers.Dense(5, activation='softmax')]
    theirs = seed_model((3, 96, 96), tail=tail, padding='valid', use_bias=False)
    theirs.save_weights(tmp_path / name) if 'weights' in name else theirs.save(tmp_path / name)
    weights, config = convert(tmp_path / name)
    ours = MODELS.build(config)
    ours.load_state_dict(weights)
    assert numbers(ours) == theirs.count_params()
    check_recognizer(theirs, ours, clips(theirs.input_shape[1:4]))
