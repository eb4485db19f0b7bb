"""tools/export_onnx.py as a user runs it."""

import hashlib
import json
import re

import numpy as np
import onnx
import pytest
import torch
from helpers.onnx_models import converted_once
from helpers.support import ROOT, load_tool, run_tool
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cnnlstm_mm.export import made_video, read_frames
from cnnlstm_mm.run_identity import code_version
from cnnlstm_mm.storage import locked
from cnnlstm_mm.streaming import OnnxStreamingRecognizer
from mmaction.registry import MODELS

CONFIG = ROOT / 'configs/mobilenet_convlstm_quickstart.py'


@pytest.fixture(scope='module', autouse=True)
def _once():
    with converted_once():
        yield


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Random weights of the quickstart's model."""
    path = tmp_path_factory.mktemp('weights') / 'random.pth'
    init_default_scope('mmaction')  # a fixture of a module comes first
    model = MODELS.build(Config.fromfile(CONFIG).model)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def largest(text):
    """The difference that the tool printed."""
    return float(re.search(r'difference .*: (\S+)', text)[1])


@pytest.mark.slow
def test_step_and_int8(checkpoint, quickstart_data, tmp_path):
    """One run checks, writes what a caller must know, and quantizes."""
    lists = sorted(quickstart_data.glob('*val*.txt'))
    done = run_tool(
        'tools/export_onnx.py',
        CONFIG,
        checkpoint,
        '--mode',
        'step',
        '--out',
        tmp_path / 's.onnx',
        '--int8',
        '--calibration',
        lists[0],
        '--calibration-videos',
        3,
        '--data-prefix',
        data_root(lists[0]),
    )
    assert done.returncode == 0, done.stderr
    assert largest(done.stdout) < 1e-5
    assert re.search(r'ranges from 3 of \d+ videos', done.stdout)
    assert 'top-1 over the list: fp32' in done.stdout
    for name in ('s.onnx', 's_int8.onnx'):
        rec = OnnxStreamingRecognizer(tmp_path / name)
        assert rec.num_classes == len(rec.labels) == 8
        assert rec.frame_size == (64, 64) and rec.multi_class is False
    assert sorted(f.name for f in tmp_path.iterdir()) == ['s.onnx', 's_int8.onnx']


@pytest.mark.slow
def test_clip(checkpoint, tmp_path):
    """Any number of videos and views."""
    out = tmp_path / 'c.onnx'
    done = run_tool('tools/export_onnx.py', CONFIG, checkpoint, '--mode', 'clip', '--out', out)
    assert done.returncode == 0, done.stderr
    assert largest(done.stdout) < 1e-5
    model = onnx.load(str(out))
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape][2:] == [3, 16, 64, 64]
    assert all(d.dim_param for d in shape[:2])
    facts = {p.key: p.value for p in model.metadata_props}
    assert json.loads(facts['clip']) == dict(views=1, length=16)
    made_of = json.loads(facts['run_identity'])
    assert made_of['checkpoint'] == 'random.pth' and made_of['code'] == code_version()
    assert made_of['checkpoint_sha256'] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match='--mode step'):
        OnnxStreamingRecognizer(out)


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['step', 'clip'])
def test_fp16_says_what_it_costs(mode, checkpoint, tmp_path):
    video = tmp_path / 'waves.mp4'
    made_video(video, 12)
    out = tmp_path / 'a.onnx'
    done = run_tool(
        'tools/export_onnx.py', CONFIG, checkpoint,
        '--mode', mode, '--out', out, '--fp16', '--video', video,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    half = tmp_path / 'a_fp16.onnx'
    weights = [w for w in onnx.load(str(half)).graph.initializer if np.prod(w.dims) > 100]
    assert weights and all(w.data_type == onnx.TensorProto.FLOAT16 for w in weights)
    stored = [onnx.load(str(file)).metadata_props for file in (out, half)]
    assert {p.key: p.value for p in stored[0]} == {p.key: p.value for p in stored[1]}
    said = dict(re.findall(r'(scores|states) (\S+e-\d+)', done.stdout))
    assert sorted(said) == (['scores', 'states'] if mode == 'step' else ['scores'])
    assert all(0 < float(value) < 0.01 for value in said.values())
    if mode == 'step':  # again, over all frames at once
        want, have = (
            OnnxStreamingRecognizer(file).steps(np.stack(read_frames(video))[None])
            for file in (out, half)
        )
        assert float(said['scores']) == pytest.approx(abs(want[0] - have[0]).max(), rel=0.06)


def test_a_model_that_differs_is_not_kept(checkpoint, tmp_path, monkeypatch):
    """Nor is anything that lay there lost."""
    export_onnx = load_tool('tools/export_onnx.py')
    out = tmp_path / 'c.onnx'
    out.write_text('old')
    monkeypatch.setattr(export_onnx, 'to_onnx', lambda *_: onnx.ModelProto())
    monkeypatch.setattr(export_onnx, 'OnnxStreamingRecognizer', lambda path: None)
    monkeypatch.setattr(export_onnx, 'check_step', lambda *_: 2e-4)
    done = run_tool('tools/export_onnx.py', CONFIG, checkpoint, '--mode', 'step', '--out', out)
    assert done.returncode == 2 and re.search(
        'at most 1e-04, got 2.0e-04: .* not written', done.stderr
    )
    assert out.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


def test_two_at_once(checkpoint, tmp_path):
    out = tmp_path / 'c.onnx'
    with locked(out, 'export_onnx', file=True):
        done = run_tool('tools/export_onnx.py', CONFIG, checkpoint, '--mode', 'clip', '--out', out)
    assert done.returncode == 2 and 'in use by export_onnx (process' in done.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_arguments(checkpoint, tmp_path):
    """Each with the cure."""

    def refused(*args):
        done = run_tool('tools/export_onnx.py', CONFIG, checkpoint, *args)
        assert done.returncode == 2
        return done.stderr

    assert '--calibration LIST together' in refused('--mode', 'step', '--int8')
    assert 'expected an existing video' in refused(
        '--mode', 'step', '--video', tmp_path / 'none.mp4'
    )


def data_root(path):
    """The folder that the paths of a list start from."""
    first = path.read_text().split()[0]
    return next(
        folder for folder in (path.parent, path.parent / 'videos') if (folder / first).is_file()
    )
