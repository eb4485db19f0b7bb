"""Captions of streams and of ONNX files are those of clips."""

import functools
import pickle
import shutil

import numpy as np
import pytest
import torch
from helpers.caption_models import FRAMES, KINDS, build, captions, clips, config
from helpers.support import run_python, run_tool
from mmengine.registry import init_default_scope

from cnnlstm_mm.captions.vocabulary import BOS
from cnnlstm_mm.export.caption_graphs import DecoderGraph, check_captions, export_captioner
from cnnlstm_mm.streaming import CaptionState, OnnxStreamingCaptioner, StreamingCaptioner
from mmaction.registry import MODELS

STREAMED = [kind for kind in KINDS if not kind.startswith('none')]
ALONE = """
import sys
BLOCKED = ('torch', 'mmaction', 'mmengine', 'mmcv', 'decord', 'tokenizers')

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Block())
import numpy as np
from cnnlstm_mm.streaming import OnnxStreamingCaptioner
captioner = OnnxStreamingCaptioner(sys.argv[1])
print([one[0]['caption'] for one in captioner.caption(captioner.steps(np.load(sys.argv[2])))])
assert not set(BLOCKED) & set(sys.modules), set(BLOCKED) & set(sys.modules)
"""


@pytest.fixture(scope='module')
def captioners(tmp_path_factory):
    """By kind, a captioner, its streams in PyTorch, and the stem of its exported files."""

    @functools.cache
    def make(kind):
        cfg = config(kind)
        model = build(cfg)
        stream = StreamingCaptioner.from_model(model, cfg)
        stem = tmp_path_factory.mktemp('onnx') / 'c'
        export_captioner(stream, stem, {})
        return model, stream, stem

    return make


@pytest.fixture(params=STREAMED)
def models(request, captioners):
    """A captioner, its streams in PyTorch, and those in onnxruntime."""
    model, stream, stem = captioners(request.param)
    return model, stream, OnnxStreamingCaptioner(stem)


def texts(found):
    return [one[0]['caption'] for one in found]


def log_probs(found):
    return [one[0]['log_prob'] for one in found]


@pytest.mark.slow
def test_50_streams_have_the_captions_of_their_clips(models):
    model, stream, exported = models
    videos = clips(50)
    want = captions(model, videos)
    assert len(set(texts(want))) > 5, 'the clip must matter'
    for made in (stream, exported):
        state = None
        for t in range(FRAMES):
            state = made.step(list(videos[:, t]), state)
        found = made.caption(state)
        assert texts(found) == texts(want)
        np.testing.assert_allclose(log_probs(found), log_probs(want), rtol=0, atol=1e-3)
        assert state.steps.tolist() == [FRAMES] * 50


@pytest.mark.slow
@pytest.mark.parametrize('attend', ['time', 'mean'])
def test_onnx_is_pytorch_from_the_same_memory(tmp_path, attend):
    """To the token, and 1e-5 in log-probability; the memories differ in length."""
    init_default_scope('mmaction')
    cfg = config(f'lstm {attend}')
    torch.manual_seed(1)
    model = MODELS.build(cfg.model)
    for parameter in model.cls_head.parameters():
        parameter.data.mul_(2.5)
    stream = StreamingCaptioner.from_model(model, cfg)
    export_captioner(stream, tmp_path / 'c', {})
    memory = [torch.randn(length, stream.channels) for length in range(1, 51)]
    want = stream.caption(CaptionState(None, tuple(memory)))
    rows = tuple(one.numpy() for one in memory)
    found = OnnxStreamingCaptioner(tmp_path / 'c').caption(CaptionState(None, rows))
    assert texts(found) == texts(want) and len(set(texts(want))) > 5
    np.testing.assert_allclose(log_probs(found), log_probs(want), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_streams_come_go_and_start_over(models):
    for made in models[1:]:
        videos = clips(3)
        state = made.steps(videos[:2, :4])
        early = made.caption(state)
        later = made.steps(videos[2:, :2])
        joined = type(state).cat([state, later])
        assert len(joined) == 3 and joined.steps.tolist() == [4, 4, 2]
        together = made.caption(joined)  # of two lengths
        assert texts(together) == texts(early) + texts(made.caption(later))
        again = pickle.loads(pickle.dumps(joined)).select([2, 0])
        assert texts(made.caption(again)) == texts([together[2], together[0]])
        fresh = joined.reset(np.array([False, True, False]))
        with pytest.raises(
            ValueError, match=r'at least one frame of each stream, got none of \[1\]'
        ):
            made.caption(fresh)
        fresh = made.step([v[0] for v in videos], fresh)
        assert fresh.steps.tolist() == [5, 1, 3]
        assert texts(made.caption(fresh))[1] == texts(made.caption(made.step([videos[1][0]])))[0]


def test_the_last_steps_alone_are_kept(models):
    _, stream, _ = models
    made = StreamingCaptioner.__new__(StreamingCaptioner)
    made.__dict__.update(stream.__dict__, max_steps=3)
    state = made.steps(clips(2))
    assert [len(rows) for rows in state.memory] == [3, 3]
    whole = stream.steps(clips(2))
    assert torch.equal(state.memory[0], whole.memory[0][-3:])


def test_the_attention_of_the_graph_sums_to_one():
    model = build(config())
    graph = DecoderGraph(model.cls_head)
    words, memory, mask, h, c = graph.example
    scores, *_, weights = graph(words, memory, mask, h, c)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(2))
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert weights[1, 2] == 0 and words[0] == BOS


def test_what_cannot_stream_is_refused():
    cfg = config('none space_time')
    with pytest.raises(ValueError, match='expected a recurrent neck'):
        StreamingCaptioner.from_model(build(cfg), cfg)
    cfg = config()
    cfg.model.neck.bidirectional = True
    cfg.model.cls_head.in_channels = 24
    with pytest.raises(ValueError, match='runs step by step.*bidirectional=False'):
        StreamingCaptioner(cfg)
    with pytest.raises(ValueError, match='max_steps'):
        StreamingCaptioner(config(), max_steps=0)


@pytest.mark.slow
def test_without_pytorch(tmp_path, captioners):
    model, _, stem = captioners('lstm time')
    videos = clips(3)
    np.save(tmp_path / 'v.npy', videos)
    done = run_python('-c', ALONE, stem, tmp_path / 'v.npy')
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(texts(captions(model, videos)))


@pytest.mark.slow
def test_the_command(tmp_path, captioners):
    cfg = config(beam_width=3)
    model = build(cfg)
    cfg.dump(tmp_path / 'captioner.py')
    checkpoint = tmp_path / 'epoch_1.pth'
    meta = dict(vocabulary=model.cls_head.vocabulary.text)
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    done = run_tool('tools/export_captions.py', tmp_path / 'captioner.py', checkpoint)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'largest difference of a log-probability' in done.stdout
    exported = OnnxStreamingCaptioner(tmp_path / 'captioner')
    assert exported.words == model.cls_head.vocabulary.words
    model.cls_head.beam_width = 1
    assert check_captions(StreamingCaptioner.from_model(model, cfg), exported, clips(1)[0]) < 1e-3
    other = tmp_path / 'other'
    for part in ('encoder', 'decoder'):
        shutil.copy(f'{captioners("conv time")[2]}_{part}.onnx', f'{other}_{part}.onnx')
    (tmp_path / 'other_decoder.onnx').replace(tmp_path / 'captioner_decoder.onnx')
    with pytest.raises(ValueError, match='expected the decoder that was exported with'):
        OnnxStreamingCaptioner(tmp_path / 'captioner')
    with pytest.raises(FileNotFoundError, match='other_decoder.onnx'):
        OnnxStreamingCaptioner(other)
