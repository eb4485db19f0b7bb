"""ActivityGate on moving, frozen, doubled and noisy pictures."""

import cv2
import numpy as np
import pytest
from helpers.support import run_tool

from cnnlstm_mm.datasets.pauses import KINDS, pause
from cnnlstm_mm.streaming import ActivityGate
from cnnlstm_mm.streaming.activity import change, shrink


def moving(frames, seed=0):
    """Discs that move over a scene, uint8 [96, 96, 3]."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.integers(0, 120, (4, 4, 3), np.uint8), (96, 96))
    starts = rng.integers(96, size=(5, 2))
    pictures = []
    for t in range(frames):
        picture = scene.copy()
        for k, (x, y) in enumerate(starts):
            cv2.circle(picture, (int(x + 6 * t) % 96, int(y)), 10, (250, 200 - 20 * k, 160), -1)
        pictures.append(picture)
    return pictures


@pytest.fixture(scope='module')
def limits(tmp_path_factory):
    """The file of the tool, from three clips."""
    folder = tmp_path_factory.mktemp('clips')
    for seed in range(3):
        code = cv2.VideoWriter_fourcc(*'MJPG')
        writer = cv2.VideoWriter(str(folder / f'{seed}.avi'), code, 8, (96, 96))
        for picture in moving(16, seed):
            writer.write(picture)
        writer.release()
    out = folder / 'limits.json'
    done = run_tool('tools/analysis/activity.py', *sorted(folder.glob('*.avi')), '--out', out)
    assert done.returncode == 0, done.stderr
    assert '"videos": 3, "changes": 45' in done.stdout
    return out


def run(gate, pictures, fps=8):
    return [gate.update(picture, k / fps) for k, picture in enumerate(pictures)]


def test_measures():
    a, b = np.full((96, 96, 3), 10, np.uint8), np.full((96, 96, 3), 30, np.uint8)
    assert change(shrink(a), shrink(b)) == pytest.approx((20, 20))
    b[::2, 1::2] = b[1::2, ::2] = 0  # within each block the change is 0 in the mean
    b[::2, ::2] = b[1::2, 1::2] = 20
    motion, flicker = change(shrink(a), shrink(b))
    assert motion < 0.3 < flicker


@pytest.mark.parametrize('kind', KINDS)
def test_pauses_are_quiet(kind, limits):
    np.random.seed(0)
    for seed in range(5):
        gate = ActivityGate.read(limits)
        pictures = pause(moving(1, seed)[0], 40, kind)
        assert not any(run(gate, pictures))


def test_actions_are_not_and_begin_and_end_in_time(limits):
    np.random.seed(0)
    clip = moving(20, 9)
    pictures = [*pause(clip[0], 10, 'black'), *clip, *pause(clip[-1], 10, 'frozen')]
    active = np.flatnonzero(run(ActivityGate.read(limits), pictures))
    assert 10 <= active[0] <= 12 and 29 <= active[-1] <= 31
    assert len(active) == np.ptp(active) + 1
    doubled = [picture for picture in clip for _ in range(2)]
    assert all(run(ActivityGate.read(limits), doubled, 16)[4:])
    gate = ActivityGate.read(limits)
    run(gate, clip)
    gate.reset()
    assert not gate.update(clip[0], 0)


@pytest.mark.parametrize('text', ['{"motion": 1}', 'x', '{"motion": -1, "flicker": 1, "grain": 1}'])
def test_other_files(text, tmp_path):
    file = tmp_path / 'limits.json'
    file.write_text(text)
    with pytest.raises(ValueError, match='limits.*json.*analysis activity'):
        ActivityGate.read(file)
