"""The built-in caption data: deterministic, held-out pairs, order alone tells directions."""

import json

import cv2
import numpy as np
import pytest
from helpers.support import run_tool

from cnnlstm_mm.captions.vocabulary import SPECIAL, Vocabulary
from cnnlstm_mm.commands.prepare.caption_quickstart import (
    COLOURS,
    ORDERS,
    SHAPES,
    WORDINGS,
    Settings,
    held_out,
    make_clips,
    render,
)
from cnnlstm_mm.datasets.caption_list import read_captions

SMALL = Settings(train_scenes=1, val_scenes=1, heldout_scenes=1, size=32, frames=4)


def test_held_out_combinations_are_in_one_list_alone():
    clips = make_clips(Settings())
    found = {split: {clip[1:] for clip in part} for split, part in clips.items()}
    assert found['train'] == found['val'] and not found['train'] & found['heldout']
    assert (len(found['train']), len(found['heldout'])) == (192, 48)
    assert all(held_out(*one) for one in found['heldout'])
    for a, b in ((0, 1), (0, 2), (1, 2)):  # every two of the three are trained on together
        pairs = {split: {(one[a], one[b]) for one in part} for split, part in found.items()}
        assert pairs['train'] >= pairs['heldout']
    assert len({one[:2] for one in found['train']}) == len(COLOURS) * len(SHAPES)
    scenes = [{clip.scene for clip in part} for part in clips.values()]
    assert not scenes[0] & scenes[1] and not scenes[0] & scenes[2] and not scenes[1] & scenes[2]


def test_a_clip_has_every_wording():
    clip = make_clips(SMALL)['heldout'][1]
    first, second = clip.order
    assert len(set(clip.captions)) == len(WORDINGS) == 5
    thing = f'{clip.colour} {clip.shape}'
    assert clip.captions[0] == f'a {thing} moves {first} and then {second}'
    assert clip.captions[4] == f'a {thing} moves {second} after it has moved {first}'


def test_the_clips_of_a_scene_have_the_same_frames():
    settings = Settings()
    first = make_clips(settings)['train'][0]
    scene = [first._replace(order=order) for order in ORDERS]
    frames = [sorted(f.tobytes() for f in render(c, settings)) for c in scene]
    assert all(one == frames[0] for one in frames)
    moving = [np.stack(render(c, settings)) for c in scene]
    assert all((a != b).any() for k, a in enumerate(moving) for b in moving[:k])


@pytest.mark.parametrize('order', ORDERS)
def test_the_shape_moves_as_the_caption_says(order):
    settings = Settings()
    clip = next(c for c in make_clips(settings)['train'] if c.order == order)
    places = []
    for frame in render(clip, settings):
        near = np.abs(frame.astype(int) - COLOURS[clip.colour]).sum(2) < 120
        turns = np.exp(2j * np.pi * np.arange(settings.size) / settings.size)
        places.append([np.angle((near.sum(axis) * turns).sum()) for axis in (1, 0)])  # y, x
    steps = np.angle(np.exp(1j * np.diff(places, axis=0)))
    half = len(steps) // 2
    for part, word in zip((steps[:half], steps[half + 1 :]), order):
        y, x = part.mean(0)
        along, sign = dict(right=(x, 1), left=(x, -1), up=(y, -1), down=(y, 1))[word]
        assert along * sign > 1.2, 'a quarter of the picture is 1.57'
        assert abs(y + x - along) < 0.3


@pytest.mark.slow
def test_the_tool(tmp_path):
    args = ['--train-scenes', 1, '--val-scenes', 1, '--heldout-scenes', 1, '--size', 32]
    args += ['--frames', 4, '--workers', 1]
    for name in ('a', 'b'):
        done = run_tool('tools/data/make_caption_quickstart.py', '--out', tmp_path / name, *args)
        assert done.returncode == 0, done.stderr
    assert '432 videos, 432 written now' in done.stdout
    for path in (tmp_path / 'a').rglob('*'):
        other = tmp_path / 'b' / path.relative_to(tmp_path / 'a')
        assert path.is_dir() or path.read_bytes() == other.read_bytes()
    rows = read_captions(str(tmp_path / 'a/captions_train.jsonl'))
    assert len(rows) == 192 and all(len(row.captions) == 5 for row in rows)
    video = cv2.VideoCapture(str(tmp_path / 'a/videos' / rows[0].path))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 4
    words = Vocabulary(tmp_path / 'a/vocabulary.json').words
    assert {*SPECIAL, *COLOURS, *SHAPES, 'left', 'then'} <= set(words) and len(words) < 35
    lost = tmp_path / 'a/videos' / rows[5].path
    before = lost.read_bytes()
    lost.unlink()
    done = run_tool('tools/data/make_caption_quickstart.py', '--out', tmp_path / 'a', *args)
    assert '432 videos, 1 written now' in done.stdout and lost.read_bytes() == before
    done = run_tool(
        'tools/data/make_caption_quickstart.py', '--out', tmp_path / 'a', *args, '--seed', 1
    )
    assert done.returncode == 2 and 'seed' in done.stderr and '--overwrite' in done.stderr
    assert json.loads((tmp_path / 'a/settings.json').read_text())['seed'] == 0


@pytest.mark.parametrize(
    'change', [dict(frames=5), dict(size=40), dict(seed=-1), dict(val_scenes=0)]
)
def test_settings_out_of_range(change):
    with pytest.raises(ValueError, match='expected'):
        Settings()._replace(**change).check()
