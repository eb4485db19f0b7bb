"""split_shots on pictures with known cuts and pauses."""

import itertools

import numpy as np
import pytest
from test_activity import limits, moving  # noqa: F401

from cnnlstm_mm.datasets.pauses import KINDS, pause
from cnnlstm_mm.streaming import ActivityGate, Frame
from cnnlstm_mm.streaming.shots import split_shots

FPS = 8


def frames(pictures, sessions=None):
    return [
        Frame(picture, k, k / FPS, 0.0, sessions[k] if sessions else 0)
        for k, picture in enumerate(pictures)
    ]


def runs(found):
    """(shot, first frame, frame after the last) of each shot and pause."""
    result, start = [], 0
    for shot, group in itertools.groupby(found, lambda one: one.shot):
        count = len(list(group))
        result.append((shot, start, start + count))
        start += count
    return result


def test_cuts_are_found_to_the_frame():
    lengths = (16, 30, 3, 16)
    pictures = [p for seed, n in enumerate(lengths) for p in moving(n, seed)]
    found = list(split_shots(frames(pictures)))
    borders = np.cumsum([0, *lengths])
    assert runs(found) == [(k, a, b) for k, (a, b) in enumerate(itertools.pairwise(borders))]
    assert [one.frame.index for one in found] == list(range(len(pictures)))
    assert [one.end for one in found] == [(k + 1) / FPS for k in range(len(pictures))]


def test_a_pan_and_a_dimmed_light_are_no_cuts():
    scene = np.random.default_rng(0).integers(0, 256, (12, 40, 3), np.uint8)
    scene = np.kron(scene, np.ones((8, 8, 1), np.uint8))
    pan = [scene[:96, 4 * k : 4 * k + 96] for k in range(40)]
    dim = [(pan[-1] * (1 - k / 40)).astype(np.uint8) for k in range(20)]
    assert runs(split_shots(frames(pan + dim))) == [(0, 0, 60)]


@pytest.mark.parametrize('kind', KINDS)
def test_pauses_between_shots(kind, limits):  # noqa: F811
    gate = ActivityGate.read(limits)
    np.random.seed(1)
    first, second = moving(16, 10), moving(24, 11)
    between = pause(first[-1], 12, kind)
    found = runs(split_shots(frames(first + between + second), gate))
    assert [shot for shot, *_ in found if shot is not None][-1] > 0
    shots = [(a, b) for shot, a, b in found if shot is not None and b - a > 2]
    assert len(shots) == 2
    for (a, b), (start, end) in zip(shots, ((0, 16), (28, 52))):
        assert abs(a - start) <= 1 and abs(b - end) <= 1


def test_short_halts_belong_to_a_shot_and_sessions_do_not(limits):  # noqa: F811
    gate = ActivityGate.read(limits)
    pictures = moving(20, 3)
    pictures = [*pictures[:10], pictures[9], *pictures[10:]]
    assert runs(split_shots(frames(pictures), gate)) == [(0, 0, 21)]
    sessions = [0] * 12 + [1] * 9
    assert runs(split_shots(frames(pictures, sessions), gate)) == [(0, 0, 12), (1, 12, 21)]


def test_nothing():
    assert list(split_shots([])) == []
    assert runs(split_shots(frames(moving(1)))) == [(0, 0, 1)]
