"""Drawn clips: the order of their frames is that of the gesture, and they can be drawn again."""

import numpy as np
import pytest
from helpers.recipes import load
from helpers.support import ROOT

from cnnlstm_mm.datasets.gestures.drawing import draw_clip
from cnnlstm_mm.datasets.gestures.paths import NAMES, REVERSED, draw_path
from mmaction.registry import DATASETS

CONFIG = ROOT / 'configs/mobilenet_lstm_gestures.py'


def build(mode, **options):
    cfg = load(CONFIG)[f'{mode}_dataloader'].dataset
    return DATASETS.build(dict(cfg, length=30, **options))


def paths(name, count=40, frames=16):
    return [draw_path(name, frames, np.random.default_rng(k)) for k in range(count)]


def area(path):
    """Area that a path encloses, positive if it runs clockwise on the screen (y is down)."""
    x, y = path.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


@pytest.mark.parametrize(
    'name, axis, sign', [('up', 1, -1), ('down', 1, 1), ('left', 0, -1), ('right', 0, 1)]
)
def test_a_stroke_goes_its_way(name, axis, sign):
    for path in paths(name):
        along, across = path[:, axis], path[:, 1 - axis]
        assert sign * (along[-1] - along[0]) > 0.2
        assert abs(across[-1] - across[0]) < abs(along[-1] - along[0])


def test_figures_turn_their_way():
    assert all(area(path) > 0.02 for path in paths('square'))
    assert all(area(path) < -0.02 for path in paths('circle'))
    for name, top in (('caret', np.argmin), ('tick', np.argmax)):
        for path in paths(name):
            assert 0 < top(path[:, 1]) < 15 and path[-1, 0] > path[0, 0]


@pytest.mark.parametrize('name', NAMES)
def test_reversed_paths_run_backwards(name):
    """The same frames in the other order, where speed and rests are left out."""
    ahead, back = (
        [draw_path(given, 200, np.random.default_rng(k)) for k in range(40)]
        for given in (name, REVERSED + name)
    )
    starts, ends = (np.mean([path[k] for path in ahead], axis=0) for k in (0, -1))
    assert np.allclose(np.mean([path[0] for path in back], axis=0), ends, atol=0.08)
    assert np.allclose(np.mean([path[-1] for path in back], axis=0), starts, atol=0.08)


def test_the_mover_follows_the_path():
    """What changes between two frames lies where the tip is, or below it, where the arm is."""
    gaps = []
    for k in range(20):
        rng = np.random.default_rng(k)
        path = draw_path('right', 8, rng)
        frames = draw_clip(path, (48, 64), rng)
        assert frames.shape == (8, 48, 64, 3) and frames.dtype == np.uint8
        change = np.abs(np.diff(frames.astype(float), axis=0)).sum((1, 3))  # [7, 64]
        change = np.maximum(change - np.median(change, axis=1, keepdims=True), 0)
        centre = (change * np.arange(64)).sum(1) / change.sum(1)
        gaps.append(np.corrcoef(centre, (path[1:, 0] + path[:-1, 0]) / 2)[0, 1])
    assert np.median(gaps) > 0.9


def test_a_test_clip_depends_on_seed_and_place_alone():
    first, again, other = build('val'), build('val'), build('val', seed=1)
    np.random.seed(0)
    clip = first[3]['inputs']
    np.random.seed(1)
    assert (again[3]['inputs'] == clip).all()
    assert (other[3]['inputs'] != clip).any() and (again[13]['inputs'] != clip).any()
    sample = again[13]['data_samples']
    assert sample.gt_label == 3 and sample.filename == 'drawn down 13'


def test_training_draws_from_the_state_of_numpy():
    data = build('train')
    clips = []
    for seed in (5, 5, 6):
        np.random.seed(seed)
        clips.append(data[2]['inputs'])
    assert (clips[0] == clips[1]).all() and (clips[0] != clips[2]).any()
    assert clips[0].shape == (1, 3, 16, 48, 64)


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="expected a gesture of .*got 'wave'; fix: "):
        build('val', classes=['up', 'wave'])
    with pytest.raises(ValueError, match='frames: expected an int from 1'):
        build('val', frames=0)
