"""Timeline against MMAction2's scores of each window, and in bounded memory."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from helpers.stream_models import OPTIONS, build, clip_scores, config

from cnnlstm_mm.prediction import timeline as module
from cnnlstm_mm.prediction.segments import best_segments
from cnnlstm_mm.prediction.timeline import Pace, Timeline, pace_of
from cnnlstm_mm.streaming import Frame, StreamingRecognizer, StreamState
from cnnlstm_mm.streaming.step_model import StepModel

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200))  # BGR
NAMES = ['blue', 'green', 'red']


def frames(pictures, fps=10):
    for k, picture in enumerate(pictures):
        yield Frame(picture, k, k / fps, 0.0, 0)


class ColourModel:
    """Scores the mean colour of all steps so far."""

    probabilities, multi_class, sees_motion = True, False, False
    as_probabilities = StepModel.as_probabilities
    steps = 0

    def features(self, x):
        self.steps += x.shape[2]
        return x.mean((3, 4), keepdim=True)

    def init_state(self, batch, size, device=None):
        return dict(sum=torch.zeros(batch, 3), count=torch.zeros(batch))

    def __call__(self, features, state):
        total = state['sum'] + features[..., 0, 0].sum(2)
        count = state['count'] + features.shape[2]
        mean = total / count[:, None]
        scores = (mean / 20).softmax(1)[:, None]
        if self.multi_class:
            scores = (mean[:, None] - 100) / 20
        return scores, dict(sum=total, count=count)


@pytest.fixture
def colours():
    """A recognizer of colours: blue, green, red."""
    rec = SimpleNamespace(model=ColourModel(), State=StreamState, model_id='colours')
    rec.prepare = lambda images: (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().flip(1)
    )
    return rec


def pictures(*parts):
    """(class, frames) of each part as pictures."""
    return [np.full((8, 8, 3), COLOURS[k], np.uint8) for k, n in parts for _ in range(n)]


@pytest.mark.slow
@pytest.mark.parametrize('option', ['lstm', 'conv_mean', 'conv_per_step', 'conv_raw_scores'])
@pytest.mark.parametrize('steps, overlap', [(23, 2), (24, 3), (5, 2), (12, 1)])
def test_windows_have_the_scores_of_a_test(option, steps, overlap, monkeypatch):
    check_windows(config(*OPTIONS[option]), steps, overlap, monkeypatch)


@pytest.mark.parametrize('motion', ['difference', 'both'])
def test_windows_see_the_motion_of_a_test(motion, monkeypatch):
    """The first frame of a window has none before it, though the windows around it have."""
    cfg = config(*OPTIONS['lstm'], dict(type='OneConvolution'))
    cfg.model.backbone.motion = motion
    check_windows(cfg, 23, 3, monkeypatch)


def check_windows(cfg, steps, overlap, monkeypatch):
    torch.manual_seed(0)
    model = build(cfg)
    rec = StreamingRecognizer.from_model(model, cfg)
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (40, 40))
    clip = [np.roll(scene, 3 * k, 1) // (1 + (k > 11)) for k in range(steps)]
    monkeypatch.setattr(
        module,
        'split_shots',
        lambda given, limits: (SimpleNamespace(frame=f, end=f.time + 0.1, shot=0) for f in given),
    )
    labels = list('abcde')
    found = Timeline(rec, labels, Pace(1, 6, 4), overlap, least_score=0).segments(frames(clip))

    rgb = [rec.transform(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for picture in clip]
    hop, sums, counts = 6 // overlap, np.zeros((steps, 5)), np.zeros(steps)
    windows = [(a, a + 6) for a in range(0, steps, hop) if a + 6 <= steps]
    if not windows or windows[-1][1] < steps:
        windows.append((windows[-1][0] + hop if windows else 0, steps))
    for a, b in windows:
        scores = clip_scores(model, np.stack(rgb[a:b]))
        scores = scores if rec.model.probabilities else scores.softmax(0)
        sums[a:b] += scores.double().numpy()
        counts[a:b] += 1
    wanted = sums / counts[:, None]
    parts = best_segments(wanted, 4)
    expected = []
    for a, b, k in parts:
        expected.append((a / 10, b / 10, labels[k], wanted[a:b, k].mean()))
    found = [tuple(event) for event in found]
    assert [one[2] for one in found] == [one[2] for one in expected]
    for one, other in zip(found, expected):
        assert one[:2] == pytest.approx(other[:2]) and one[3] == pytest.approx(other[3], abs=1e-5)


def test_cuts_pauses_and_the_none_class(colours):
    parts = [(0, 30), (1, 25), (2, 30), (0, 40)]
    timeline = Timeline(colours, NAMES, Pace(1, 10, 5))
    found = list(timeline.segments(frames(pictures(*parts))))
    assert [(e.start, e.end, e.label) for e in found] == [
        (0, 3, 'blue'),
        (3, 5.5, 'green'),
        (5.5, 8.5, 'red'),
        (8.5, pytest.approx(12.5), 'blue'),
    ]
    assert all(event.score > 0.9 for event in found)
    assert colours.model.steps == 125  # each frame once
    without = Timeline(colours, NAMES, Pace(1, 10, 5), none_class=2)
    assert [e.label for e in without.segments(frames(pictures(*parts)))] == [
        'blue',
        'green',
        'blue',
    ]


def test_a_change_without_a_cut_is_found_to_half_a_window(colours, monkeypatch):
    monkeypatch.setattr('cnnlstm_mm.streaming.shots.LEAST', 2.0)
    clip = pictures((0, 47), (1, 48))
    first, second = Timeline(colours, NAMES, Pace(1, 10, 5)).segments(frames(clip))
    assert (first.label, second.label) == ('blue', 'green')
    assert first.end == second.start == pytest.approx(4.7, abs=0.5)
    assert (first.start, second.end) == (0, pytest.approx(9.5))


def test_long_shots_are_divided_in_bounded_memory(colours, monkeypatch):
    parts = [(k % 3, 40 + 7 * (k % 4)) for k in range(30)] + [(1, 500)]
    monkeypatch.setattr('cnnlstm_mm.streaming.shots.LEAST', 2.0)
    whole = list(Timeline(colours, NAMES, Pace(1, 10, 5)).segments(frames(pictures(*parts))))
    monkeypatch.setattr(module, 'LIMIT', 120)
    most = []
    drop = module._Votes.drop
    monkeypatch.setattr(
        module._Votes, 'drop', lambda self, n: (most.append(len(self.times)), drop(self, n))
    )
    found = list(Timeline(colours, NAMES, Pace(1, 10, 5)).segments(frames(pictures(*parts))))
    assert max(most) <= 120 + 20 + 10 and len(most) > 5
    assert [e.label for e in found] == [e.label for e in whole] == [NAMES[k] for k, _ in parts]
    for one, other in zip(found, whole):
        assert one[:2] == pytest.approx(other[:2], abs=0.1)


def test_several_labels_overlap(colours):
    colours.model.multi_class, colours.model.probabilities = True, False
    both = [np.full((8, 8, 3), (200, 200, 30), np.uint8)] * 30
    clip = pictures((0, 30)) + both + pictures((1, 30))
    found = list(Timeline(colours, NAMES, Pace(1, 10, 5)).segments(frames(clip)))
    assert [(e.start, e.end, e.label) for e in found] == [(0, 6, 'blue'), (3, 9, 'green')]


def test_pace():
    cfg = config(*OPTIONS['lstm'])
    rec = SimpleNamespace(cfg=cfg, frame_interval=3)
    assert pace_of(rec, 30, 2, None) == Pace(3, 6, 20)
    assert pace_of(rec, 30, 0.01, 4) == Pace(3, 40, 1)
    cfg.test_pipeline[1] = dict(type='UniformSample', clip_len=8)
    rec.frame_interval = 1
    assert pace_of(rec, 24, 2, None) == Pace(6, 8, 8)
    assert pace_of(rec, 24, 2, 4) == Pace(12, 8, 4)
