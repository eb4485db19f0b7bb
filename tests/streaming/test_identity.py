"""A clip, its parts and its frames give the same scores."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from helpers.stream_models import OPTIONS, build, clip_scores, config

from cnnlstm_mm.streaming import StreamingRecognizer, StreamState

CLOSE = dict(rtol=0, atol=1e-5)


def make(option):
    torch.manual_seed(3)
    cfg = config(*OPTIONS[option])
    model = build(cfg)
    rec = StreamingRecognizer.from_model(model, cfg)
    # 32x32 frames would be resized to 36x36 first: prepare them by hand.
    rec.transform.steps.clear()
    return model, rec


def random_video(frames, size=(32, 32)):
    return np.random.default_rng(frames).integers(0, 256, (frames, *size, 3), np.uint8)


def in_float64(rec, video, monkeypatch):
    """The StepModel in float64, and its features [1, C, T, h, w] of a video."""
    model = copy.deepcopy(rec.model).double()
    monkeypatch.setattr(torch.Tensor, 'float', torch.Tensor.double)
    mean, std = (np.reshape(rec.normalization[name], (3, 1, 1, 1)) for name in ('mean', 'std'))
    x = torch.from_numpy((video.transpose(3, 0, 1, 2) - mean) / std)[None]
    return model, torch.cat([model.features(frame) for frame in x.split(1, 2)], 2)


def run(model, features, chunk):
    """Scores [T, classes] and the last state, ``chunk`` frames at a time."""
    state = model.init_state(1, tuple(features.shape[3:]))
    state = {name: t.double() if t.is_floating_point() else t for name, t in state.items()}
    scores = []
    for part in features.split(chunk, 2):
        now, state = model(part, state)
        scores.append(now[0])
    return dict(state, scores=torch.cat(scores))


def gap(one, other):
    """The largest difference between two runs."""
    return max(float((one[name] - other[name]).abs().max()) for name in other)


@pytest.mark.parametrize('option', OPTIONS)
@torch.no_grad()
def test_steps_chunks_and_clips_are_equal_in_float64(option, monkeypatch):
    model, rec = make(option)
    video = random_video(7)
    steps, features = in_float64(rec, video, monkeypatch)
    want = torch.stack([clip_scores(model.double(), video[: t + 1]) for t in range(7)])
    whole = run(steps, features, 7)
    torch.testing.assert_close(whole['scores'], want, rtol=0, atol=1e-10)
    for chunk in (3, 1):
        assert gap(run(steps, features, chunk), whole) < 1e-10


@torch.no_grad()
def float32_limit(rec, video):
    """How far float32 may be off: what noise as large as its rounding does to a float64 model."""
    rounded = rec._features(rec.prepare(video).transpose(0, 1)[None])
    with pytest.MonkeyPatch.context() as patch:
        model, features = in_float64(rec, video, patch)
        rounding = float((rounded - features).abs().max())
        assert rounding < 4e-6 * float(features.abs().max())
        noise = rounding * (2 * torch.rand_like(features) - 1)
        found = gap(run(model, features + noise, 7), run(model, features, 7))
    assert found < 3e-5, 'the model must be well conditioned'
    return max(1e-5, found)


@pytest.mark.slow
@pytest.mark.parametrize('option', OPTIONS)
def test_steps_chunks_and_clips_agree(option):
    model, rec = make(option)
    video = random_video(7)
    close = dict(rtol=0, atol=float32_limit(rec, video))
    want = torch.stack([clip_scores(model, video[: t + 1]) for t in range(7)])
    assert want.std(0).min() > 1e-4, 'the scores must depend on the frames'

    state, got = None, []
    for t, frame in enumerate(video):
        scores, state = rec.step(frame[None], state)
        got.append(scores[0])
        assert state.steps.tolist() == [t + 1]
        if t == 3:
            state = pickle.loads(pickle.dumps(state))
    torch.testing.assert_close(torch.stack(got), want, **CLOSE)

    whole, end = rec.steps(video[None])
    torch.testing.assert_close(whole[0], want, **CLOSE)
    first, middle = rec.steps(video[None, :3])
    second, parts = rec.steps(video[None, 3:], middle)
    torch.testing.assert_close(torch.cat([first, second], 1)[0], want, **CLOSE)
    for name, tensor in state.tensors.items():
        torch.testing.assert_close(end.tensors[name], tensor, **close)
        torch.testing.assert_close(parts.tensors[name], tensor, **close)


@pytest.mark.slow
@pytest.mark.parametrize(
    'option',
    ['conv_mean', 'conv_per_step_score', 'lstm_max', 'lstm_attention', 'lstm_per_step_prob'],
)
def test_streams_begin_end_and_reset_at_random(option):
    model, rec = make(option)
    chance = random.Random(0)
    seen = [[] for _ in range(8)]  # the frames of each running stream
    state = rec.init_state(8, (32, 32))
    for step in range(14):
        keep = [k for k in range(len(seen)) if chance.random() > 0.15]
        chance.shuffle(keep)
        state, seen = state.select(keep), [seen[k] for k in keep]
        joining = 8 - len(seen) if chance.random() < 0.5 else 0
        if joining:
            state = StreamState.cat([state, rec.init_state(joining, (32, 32))])
            seen += [[] for _ in range(joining)]
        if chance.random() < 0.2:
            state = pickle.loads(pickle.dumps(state))
        mask = [chance.random() < 0.1 for _ in seen]
        state = rec.reset(state, mask)
        seen = [[] if new else frames for new, frames in zip(mask, seen)]
        if not seen:
            continue
        frames = random_video(step + 1)[:1].repeat(len(seen), 0)
        frames += np.arange(len(seen), dtype=np.uint8)[:, None, None, None]
        seen = [[*before, frame] for before, frame in zip(seen, frames)]
        scores, state = rec.step(frames, state)
        want = torch.stack([clip_scores(model, np.stack(clip)) for clip in seen])
        torch.testing.assert_close(scores, want, **CLOSE)
        assert state.steps.tolist() == [len(clip) for clip in seen]
    assert {len(clip) for clip in seen} > {1}
