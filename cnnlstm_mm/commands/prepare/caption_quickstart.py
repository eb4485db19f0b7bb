"""Make the built-in caption data: a coloured shape that moves one way, then another.

Each clip has five captions, such as "a red square moves left and then up". The shape goes once
around the picture, leaving at one edge and coming in at the opposite one, then once around in a
perpendicular direction, from anywhere in the picture. The clips of a scene have the very same
frames, so that nothing but their order tells "left and then up" from the seven other pairs of
directions: a model that averages over frames is right in one of eight.

A fifth of the combinations of colour, shape and order are held out: no training clip shows a red
square that moves right and then up, though red squares move otherwise and other shapes so::

    OUT/videos/scene_0001_left_then_up.avi
    OUT/captions_{train,val,heldout}.jsonl    a video and its captions a line
    OUT/vocabulary.json, OUT/settings.json
"""

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from cnnlstm_mm.captions.vocabulary import Vocabulary
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.storage import OutputFolder, locked
from cnnlstm_mm.text import text_of

from . import scenes
from .preparation import check_workers, claim_made_data
from .quickstart import write_video
from .scenes import offsets, texture

COLOURS = dict(  # BGR
    red=(40, 40, 230),
    green=(60, 200, 50),
    blue=(235, 90, 40),
    yellow=(40, 225, 235),
    white=(240, 240, 240),
    purple=(200, 50, 180),
)
SHAPES = ('square', 'circle', 'triangle', 'cross', 'ring')
DIRECTIONS = ('right', 'left', 'up', 'down')
ORDERS = [
    (first, second)
    for first in DIRECTIONS
    for second in DIRECTIONS
    if DIRECTIONS.index(first) // 2 != DIRECTIONS.index(second) // 2
]
WORDINGS = (
    'a {thing} moves {first} and then {second}',
    'the {thing} goes {first}, then {second}',
    'the {thing} moves {first} before it moves {second}',
    'first a {thing} moves {first}, then it moves {second}',
    'a {thing} moves {second} after it has moved {first}',
)
SPLITS = ('train', 'val', 'heldout')
DARK = (0, 50)  # channel values of the background
VERSION = 1  # of what is drawn: count up when the pictures change


class Settings(NamedTuple):
    """Parameters that, with the library versions, determine every byte of the data set."""

    seed: int = 0
    train_scenes: int = 40  # of each colour and shape; a scene is a clip for each order
    val_scenes: int = 2
    heldout_scenes: int = 4
    size: int = 64  # height and width in pixels, for decord a multiple of 32
    frames: int = 8  # length of a video, even

    def check(self) -> None:
        """Raise ``ValueError`` for values out of range."""
        scenes.check_drawing(self.size, self.frames, self.seed)
        if min(self[1:4]) < 1:
            raise ValueError(f'expected at least 1 scene of each colour and shape, got {self[1:4]}')


class Clip(NamedTuple):
    """A clip: its scene, and what it shows."""

    scene: int
    colour: str
    shape: str
    order: tuple[str, str]

    @property
    def path(self) -> str:
        """Path below OUT/videos."""
        return f'scene_{self.scene:04d}_{"_then_".join(self.order)}.avi'

    @property
    def captions(self) -> list[str]:
        """All wordings."""
        first, second = self.order
        thing = f'{self.colour} {self.shape}'
        return [text.format(thing=thing, first=first, second=second) for text in WORDINGS]


def held_out(colour: str, shape: str, order: tuple[str, str]) -> bool:
    """Whether a colour, a shape and an order come together in the held-out list alone."""
    numbers = list(COLOURS).index(colour), SHAPES.index(shape), ORDERS.index(order)
    return sum(numbers) % 5 == 0


def make_clips(settings: Settings) -> dict[str, list[Clip]]:
    """The clips of each list, scene by scene; the scenes are in random order."""
    clips: dict[str, list[Clip]] = {}
    scene = 0
    for split, count in zip(SPLITS, settings[1:4]):
        wanted = split == 'heldout'
        things = [(c, s) for c in COLOURS for s in SHAPES] * count
        np.random.default_rng([settings.seed, SPLITS.index(split)]).shuffle(things)
        clips[split] = []
        for colour, shape in things:
            scene += 1
            every = (Clip(scene, colour, shape, order) for order in ORDERS)
            clips[split] += [clip for clip in every if held_out(*clip[1:]) == wanted]
    return clips


def draw_shape(rng: np.random.Generator, shape: str, size: int) -> np.ndarray:
    """Coverage in [0, 1] of a shape in the middle, of random size and angle: [size, size, 1]."""
    fine = 4 * size
    mask = np.zeros((fine, fine), np.uint8)
    centre, radius = fine / 2, fine * rng.uniform(0.16, 0.21)
    turn = rng.uniform(-0.2, 0.2)
    if shape in ('square', 'triangle'):
        corners, first = (4, np.pi / 4) if shape == 'square' else (3, -np.pi / 2)
        angles = first + turn + 2 * np.pi * np.arange(corners) / corners
        points = centre + 1.15 * radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    elif shape == 'cross':
        for angle in (turn, turn + np.pi / 2):
            arm = 1.05 * radius * np.array([np.cos(angle), np.sin(angle)])
            one, two = ((centre + sign * arm).astype(int).tolist() for sign in (-1, 1))
            cv2.line(mask, one, two, 255, int(radius * 0.55))
    else:
        middle = (int(centre), int(centre))
        thickness = -1 if shape == 'circle' else int(radius * 0.4)
        cv2.circle(mask, middle, int(radius * (1 if shape == 'circle' else 0.85)), 255, thickness)
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    return small[..., None] / np.float32(255)


def render(clip: Clip, settings: Settings) -> list[np.ndarray]:
    """Draw the frames of a clip, uint8 BGR [size, size, 3] each."""
    size = settings.size
    rng = np.random.default_rng([settings.seed, clip.scene])
    still = texture(rng, size, *DARK)
    mask = draw_shape(rng, clip.shape, size)
    colour = np.array(COLOURS[clip.colour], np.float32) + rng.uniform(-25, 15, 3).astype(np.float32)
    start = rng.integers(size, size=2)
    frames = []
    way = scenes.Settings(size=size, frames=settings.frames)
    for y, x in offsets('Then'.join(word.title() for word in clip.order), way):
        cover = np.roll(mask, (y + start[0], x + start[1]), axis=(0, 1))
        picture = still * (1 - cover) + colour * cover
        frames.append(picture.round().clip(0, 255).astype(np.uint8))
    return frames


def make_clip(clip: Clip, out: Path, settings: Settings) -> int:
    """Write a clip unless it is there; the number of videos written."""
    path = out / 'videos' / clip.path
    if path.exists():
        return 0
    cv2.setNumThreads(1)
    write_video(path, render(clip, settings))
    return 1


def make_caption_quickstart(
    out: Path, settings: Settings = Settings(), workers: int = 1, overwrite: bool = False
) -> int:
    """Make the data set, or its missing videos; the number of videos written.

    Raises:
        ValueError: If a setting is out of range.
        FileExistsError: If ``out`` holds videos of other settings.
    """
    settings.check()
    check_workers(workers)
    output = OutputFolder(out)
    with locked(out, 'prepare caption-quickstart'):
        made_of = dict(settings._asdict(), tool='prepare caption-quickstart', version=VERSION)
        claim_made_data(output, made_of, overwrite, [out / 'videos'])
        clips = make_clips(settings)
        every = [clip for part in clips.values() for clip in part]
        with ProcessPoolExecutor(workers) as pool:
            jobs = pool.map(partial(make_clip, out=out, settings=settings), every, chunksize=16)
            written = sum(track(jobs, 'Making videos', total=len(every)))
        for split, part in clips.items():
            lines = [json.dumps(dict(video=clip.path, captions=clip.captions)) for clip in part]
            output.write_text(f'captions_{split}.jsonl', text_of(lines))
        captions = (caption for clip in clips['train'] for caption in clip.captions)
        output.write_text('vocabulary.json', Vocabulary.build(captions).text + '\n')
    return written


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    default = Settings()
    parser.add_argument('--out', type=Path, default=Path('data/caption_quickstart'))
    for name, value in default._asdict().items():
        parser.add_argument(f'--{name.replace("_", "-")}', type=int, metavar='N', default=value)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a data set with other settings'
    )
    return parser


def make(args: argparse.Namespace) -> None:
    settings = Settings(*(getattr(args, name) for name in Settings._fields))
    written = make_caption_quickstart(args.out, settings, args.workers, args.overwrite)
    total = sum(map(len, make_clips(settings).values()))
    print(f'{args.out}: {total} videos, {written} written now, {total - written} found.')


def main(argv: list[str] | None = None) -> int:
    return run_command(make, argument_parser(), argv)
