"""Frame differences in clips, streams and ONNX."""

import numpy as np
import pytest
import torch
from helpers.stream_models import CONV, I3D, LSTM, build, clip_scores, config

from cnnlstm_mm.export import StepGraph, check_step, save, step_facts, to_onnx
from cnnlstm_mm.lab.analysis.complexity import complexity
from cnnlstm_mm.models.backbones import TimeDistributed
from cnnlstm_mm.streaming import OnnxStreamingRecognizer, StreamingRecognizer, StreamState
from mmaction.registry import MODELS

SMALL = dict(type='MobileNetV1', widen_factor=1 / 16, out_indices=(4,), norm_cfg=dict(type='BN'))
MOTIONS = ('difference', 'both')


def make(motion, neck=CONV):
    torch.manual_seed(0)
    cfg = config(neck, I3D)
    cfg.model.backbone.motion = motion
    model = build(cfg)
    rec = StreamingRecognizer.from_model(model, cfg)
    return cfg, model, rec


def wrapped(motion, **kwargs):
    return MODELS.build(dict(type='TimeDistributed', backbone=SMALL, motion=motion, **kwargs))


@pytest.mark.parametrize('motion', MOTIONS)
@pytest.mark.parametrize('frozen', [False, True])
def test_the_backbone_sees_what_numpy_subtracts(motion, frozen):
    module = wrapped(motion, frozen=frozen).eval()
    module.init_weights()
    x = torch.randn(2, 3, 4, 32, 32)
    seen = np.diff(x.numpy(), axis=2, prepend=x.numpy()[:, :, :1])
    if motion == 'both':
        seen = np.concatenate([x.numpy(), seen], axis=1)
    want = torch.stack(
        [module.backbone(torch.tensor(seen[:, :, t])) for t in range(4)], dim=2
    ).detach()
    torch.testing.assert_close(module(x).detach(), want, rtol=1e-4, atol=1e-5)
    assert want.abs().max() > 1e-2


@pytest.mark.parametrize('motion, neck', [('difference', CONV), ('both', LSTM)])
def test_steps_chunks_and_clips_agree(motion, neck):
    _, model, rec = make(motion, neck)
    rec.transform.steps.clear()
    video = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    want = torch.stack([clip_scores(model, video[: t + 1]) for t in range(6)])
    assert want.std(0).min() > 1e-4, 'the scores must depend on the frames'
    whole, _ = rec.steps(video[None])
    torch.testing.assert_close(whole[0], want, rtol=0, atol=1e-5)
    _, state = rec.steps(video[None, :2])
    assert state.tensors['backbone.frame'].shape == (1, 3, 32, 32)
    # A stream that joins, and one that starts over, have no frame before their first.
    state = StreamState.cat([state, rec.init_state(1, (32, 32)), state])
    state = rec.reset(state, [False, False, True])
    scores, state = rec.step(np.stack([video[2], video[0], video[0]]), state)
    torch.testing.assert_close(scores, want[[2, 0, 0]], rtol=0, atol=1e-5)
    scores, _ = rec.step(np.stack([video[3], video[1], video[1]]), state)
    torch.testing.assert_close(scores, want[[3, 1, 1]], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_frame_before_goes_through_onnx(tmp_path):
    _, _, rec = make('both')
    graph = StepGraph(rec, (32, 32))
    facts = step_facts(rec, graph, list('abcde'))
    save(to_onnx(graph), facts, tmp_path / 'm.onnx')
    assert (
        dict(dtype='float32', shape=[3, 32, 32]).items()
        <= next(part for part in facts['state'] if part['input'] == 'backbone.frame').items()
    )
    frames = np.random.default_rng(1).integers(0, 256, (7, 40, 54, 3), np.uint8)
    assert check_step(rec, OnnxStreamingRecognizer(tmp_path / 'm.onnx', threads=1), frames) < 1e-5


def test_loaded_weights_of_frames_ignore_the_difference():
    plain, both = wrapped(None).eval(), wrapped('both').eval()
    torch.nn.init.ones_(both.backbone.conv1.conv.weight)
    both.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, 3, 32, 32)
    torch.testing.assert_close(both(x), plain(x))
    again = wrapped('both').eval()
    torch.nn.init.ones_(both.backbone.conv1.conv.weight)
    again.load_state_dict(both.state_dict())
    torch.testing.assert_close(again(x), both(x))


def test_a_neck_finds_its_channels_and_the_backbone_is_counted_once():
    counts = {}
    for motion in (None, *MOTIONS):
        cfg, _, _ = make(motion)
        cfg.model.neck.pop('in_channels')
        assert MODELS.build(cfg.model.copy()).neck.in_channels == 16
        cfg.model.neck.in_channels = 16
        found = complexity(cfg, shape=(4, 32, 32))
        counts[motion] = found['per_frame']['flops']
    assert counts[None] == counts['difference']
    assert counts['both'] - counts[None] == 3 * 9 * 2 * 16 * 16  # 2 channels, stride 2


def test_other_motions_and_backbones_are_refused():
    with pytest.raises(ValueError, match="motion: expected one of .*, got 'flow'"):
        wrapped('flow')
    with pytest.raises(ValueError, match="fix: motion='difference'"):
        TimeDistributed(dict(type='PrecomputedFeatures'), motion='both')
