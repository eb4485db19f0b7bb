"""Exported steps give PyTorch's scores, without PyTorch."""

import pickle

import numpy as np
import onnxruntime
import pytest
import torch
from helpers.necks import NECKS
from helpers.onnx_models import exported
from helpers.stream_models import OPTIONS, build, config
from helpers.support import run_python

from cnnlstm_mm.export import ClipGraph, check_step, quantize, to_onnx
from cnnlstm_mm.streaming import OnnxStreamingRecognizer, OnnxStreamState

pytestmark = pytest.mark.slow

SMALL = dict(type='OneConvolution')
ALONE = """
import sys
BLOCKED = ('torch', 'mmaction', 'mmengine', 'mmcv', 'decord')

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Block())
import numpy as np
import cnnlstm_mm
from cnnlstm_mm.streaming import OnnxStreamingRecognizer
rec = OnnxStreamingRecognizer(sys.argv[1])
scores, _ = rec.steps(np.load(sys.argv[2]))
np.save(sys.argv[3], scores)
assert not set(BLOCKED) & set(sys.modules), set(BLOCKED) & set(sys.modules)
try:
    cnnlstm_mm.models
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.fixture(scope='module')
def conv(tmp_path_factory):
    """A ConvLSTM with a mean over time."""
    return exported('conv_mean', tmp_path_factory.mktemp('onnx') / 'm.onnx')


@pytest.fixture
def frames():
    """Frames of a video, uint8 [T, 40, 54, 3]."""
    return np.random.default_rng(0).integers(0, 256, (9, 40, 54, 3), np.uint8)


def test_streams_of_a_batch_are_those_of_pytorch(conv, frames):
    """Stepwise, joining, leaving, reset, and pickled half way."""
    rec, onnx = conv
    assert check_step(rec, onnx, frames) < 1e-5
    state = onnx.init_state()
    for frame in frames[:4]:
        _, state = onnx.step([frame], state)
    state = OnnxStreamState.cat([state, onnx.init_state(2)])
    state = pickle.loads(pickle.dumps(state))
    scores, state = onnx.step(frames[4:7], state)
    want, _ = rec.steps(np.stack([frames[:5]]))
    np.testing.assert_allclose(scores[0], want[0, -1], atol=1e-5)
    state = onnx.reset(state.select([2, 0]), [False, True])
    assert state.steps.tolist() == [1, 0]
    scores, _ = onnx.step([frames[8], frames[7]], state)
    for row, seen in zip(scores, ([6, 8], [7])):
        want, _ = rec.steps(frames[seen][None])
        np.testing.assert_allclose(row, want[0, -1], atol=1e-5)
    assert abs(scores[0] - scores[1]).max() > 1e-3


# The pooling with the most state, over an LSTM; the activations of Keras's older models.
@pytest.mark.parametrize(
    'option', ['lstm_attention', 'conv_keras2', 'conv_relu', 'lstm_keras2', 'lstm_relu']
)
def test_options_are_exported(option, tmp_path, frames):
    rec, onnx = exported(option, tmp_path / 'm.onnx', SMALL)
    assert check_step(rec, onnx, frames) < 1e-5


@pytest.mark.parametrize('option', ['mean_residual', 'sequence'])
@pytest.mark.parametrize('name', NECKS)
def test_every_neck_is_exported_step_by_step(name, option, tmp_path, frames):
    rec, onnx = exported(f'{name}_{option}', tmp_path / 'm.onnx', SMALL)
    assert check_step(rec, onnx, frames) < 1e-5


@pytest.mark.parametrize('name', NECKS)
def test_every_neck_is_exported_with_its_clip(name, tmp_path):
    """Also with a residual that is no longer at zero."""
    model = build(config(*OPTIONS[f'{name}_mean_residual'], SMALL))
    assert model.neck.projection.weight.any()
    exported = to_onnx(ClipGraph(model, (4, 32, 32)))
    clips = torch.randn(2, 2, 3, 4, 32, 32)
    with torch.no_grad():
        scores = model.cls_head(model.neck(model.backbone(clips.flatten(0, 1)))[0])
    want = scores.view(2, 2, -1).softmax(2).mean(1)
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    (got,) = session.run(None, dict(clips=clips.numpy()))
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_pixels_are_prepared_as_in_pytorch(conv, frames):
    """Resizing, cropping and normalizing, and frames prepared before."""
    rec, onnx = conv
    x = onnx.prepare(frames)
    np.testing.assert_allclose(x, rec.prepare(frames).numpy(), atol=1e-6)
    assert np.array_equal(onnx.step(x)[0], onnx.step(frames)[0])
    chunk = x.transpose(1, 0, 2, 3)[None]
    assert np.array_equal(onnx.steps(chunk)[0], onnx.steps(frames[None])[0])


def test_it_needs_neither_pytorch_nor_mmaction(conv, frames, tmp_path):
    """In a Python where these cannot be imported."""
    rec, onnx = conv
    np.save(tmp_path / 'frames.npy', frames[None])
    done = run_python(
        '-c', ALONE, onnx.session._model_path, tmp_path / 'frames.npy', tmp_path / 'scores.npy'
    )
    assert done.returncode == 0, done.stderr
    assert 'cnnlstm_mm.models needs torch' in done.stdout
    want, _ = rec.steps(frames[None])
    np.testing.assert_allclose(np.load(tmp_path / 'scores.npy'), want, atol=1e-5)


def test_int8_changes_the_backbone_alone_and_little(conv, frames, tmp_path):
    """Close to float32 on what it was calibrated with."""
    _, onnx = conv
    x = onnx.prepare(frames)
    feeds = [dict(onnx.init_state().tensors, frames=frame[None]) for frame in x]
    convs = quantize(onnx.session._model_path, tmp_path / 'q.onnx', feeds)
    assert convs == 11  # a stem and 5 times depthwise and pointwise
    small = OnnxStreamingRecognizer(tmp_path / 'q.onnx', threads=1)
    want, have = (r.steps(frames[None])[0] for r in (onnx, small))
    assert 0 < abs(want - have).max() < 0.1


def test_wrong_input_is_refused(conv, frames, tmp_path):
    """With what to do."""
    _, onnx = conv
    _, state = onnx.step(frames[:2])
    with pytest.raises(ValueError, match='2 streams; fix: add streams by OnnxStreamState'):
        onnx.step(frames[:1], state)
    with pytest.raises(ValueError, match='begin new streams after a change of weights'):
        onnx.step(frames[:2], OnnxStreamState(state.tensors, 'other'))
    with pytest.raises(ValueError, match='different models'):
        OnnxStreamState.cat([state, OnnxStreamState(state.tensors, 'x')])
    with pytest.raises(ValueError, match=r'mask to be bool \[2\]'):
        onnx.reset(state, [True])
    with pytest.raises(ValueError, match='no frames'):
        onnx.step([])
    with pytest.raises(ValueError, match=r'\(32, 32\), .* exported for, got \(8, 8\)'):
        onnx.step(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r'\[N, 3, h, w\], got \[1, 32, 32, 3\]'):
        onnx.step(np.zeros((1, 32, 32, 3), np.float32))
    x = onnx.prepare(frames[:2])
    x[1, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r'NaN.* in the frames of the streams \[1\]'):
        onnx.step(x)
    onnx.check = 'never'
    assert np.isnan(onnx.step(x)[0][1]).all()
    onnx.check = 'always'
    state.tensors['neck.h'][0] = np.inf
    with pytest.raises(ValueError, match=r'in the state of the streams \[0\].*reset'):
        onnx.step(frames[:2], state)
    half = OnnxStreamState({k: v.astype(np.float16) for k, v in state.tensors.items()}, state.model)
    with pytest.raises(ValueError, match=r'keeps its frame size and dtypes'):
        onnx.step(frames[:2], half)
    with pytest.raises(ValueError, match='expected the OnnxStreamState .* got a dict'):
        onnx.step(frames[:2], state.tensors)
    with pytest.raises(ValueError, match='same number of frames'):
        onnx.steps([frames[:2], frames[:3]])
    with pytest.raises(ValueError, match='exported for'):
        onnx.init_state(1, (64, 64))
    with pytest.raises(FileNotFoundError, match='none.onnx, got no such file'):
        OnnxStreamingRecognizer(tmp_path / 'none.onnx')
