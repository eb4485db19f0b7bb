"""The pictures of the built-in data set: shapes that move over a still scene."""

from typing import NamedTuple

import cv2
import numpy as np

STEPS = dict(Right=(0, 1), Left=(0, -1), Up=(-1, 0), Down=(1, 0))  # (y, x)
CLASSES = [
    f'{first}Then{second}'
    for first in STEPS
    for second in STEPS
    if np.dot(STEPS[first], STEPS[second]) == 0
]
VERSION = 1  # of what is drawn: count up when the pictures change
NUM_MOVING, NUM_STILL = 5, 2
DARK, LIGHT = (0, 110), (140, 255)  # channel values of scenes and of shapes
POLYGONS = dict(triangle=3, diamond=4, pentagon=5, hexagon=6)
SHAPES = ['disc', 'ring', 'cross', *POLYGONS]


def check_drawing(size: int, frames: int, seed: int) -> None:
    """Raise ``ValueError`` for a size, a number of frames or a seed that cannot be drawn."""
    if frames < 4 or frames % 2:
        raise ValueError(f'expected frames to be even and at least 4, got {frames}')
    if size < 32 or size % 32 or size % frames:
        raise ValueError(
            'expected size to be a multiple of 32 (decord pads others) and of '
            f'frames ({frames}), got {size}'
        )
    if seed < 0:
        raise ValueError(f'expected a seed of at least 0, got {seed}')


class Settings(NamedTuple):
    """Parameters that, with the library versions, determine every byte of the data set."""

    seed: int = 0
    train_per_class: int = 160  # videos
    val_per_class: int = 40  # videos, of other scenes
    size: int = 96  # height and width in pixels, for decord a multiple of 32
    frames: int = 16  # length of a video, even

    def check(self) -> None:
        """Raise ``ValueError`` for values out of range."""
        check_drawing(self.size, self.frames, self.seed)
        if min(self.train_per_class, self.val_per_class) < 1:
            raise ValueError(
                'expected train_per_class and val_per_class to be at least 1, got '
                f'{self.train_per_class} and {self.val_per_class}'
            )


def video_path(class_name: str, scene: int) -> str:
    """Path of a video below OUT/videos; scenes take the place of UCF101's groups."""
    return f'{class_name}/v_{class_name}_g{scene:03d}_c01.avi'


def texture(rng: np.random.Generator, size: int, low: float, high: float) -> np.ndarray:
    """Draw smooth noise, or noise and stripes, between two colours.

    Args:
        rng (np.random.Generator): The source of randomness.
        size (int): Height and width in pixels.
        low (float): Least channel value of a colour.
        high (float): Greatest channel value of a colour.

    Returns:
        np.ndarray: float32 picture, shape [size, size, 3].
    """
    grain = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 1.0), (7, 0.6), (15, 0.4)):
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        grain += weight * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        y, x = np.mgrid[:size, :size] / size
        angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 12)
        grain += np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))
    mix = 1 / (1 + np.exp(-2 * grain[..., None]))
    dark, light = rng.uniform(low, high, (2, 3))
    return (dark + (light - dark) * mix).astype(np.float32)


def shape(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one textured shape of random kind, angle, size and place.

    Args:
        rng (np.random.Generator): The source of randomness.
        size (int): Height and width of the picture in pixels.

    Returns:
        tuple[np.ndarray, np.ndarray]: Coverage in [0, 1], float32 of shape
        [size, size, 1], and colours times coverage, [size, size, 3].
    """
    fine = 4 * size
    mask = np.zeros((fine, fine), np.uint8)
    centre, radius = fine // 2, fine * rng.uniform(0.09, 0.13)
    kind, angle = rng.choice(SHAPES), rng.uniform(0, 2 * np.pi)
    if kind in POLYGONS:
        angles = angle + 2 * np.pi * np.arange(POLYGONS[kind]) / POLYGONS[kind]
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [(centre + radius * corners).astype(np.int32)], 255)
    elif kind == 'cross':
        arm = radius * np.array([np.cos(angle), np.sin(angle)])
        for end in (arm, arm[::-1] * (-1, 1)):
            cv2.line(
                mask,
                (centre - end).astype(int).tolist(),
                (centre + end).astype(int).tolist(),
                255,
                int(radius * 0.6),
            )
    else:
        thickness = -1 if kind == 'disc' else int(radius * 0.5)
        cv2.circle(mask, (centre, centre), int(radius * 0.85), 255, thickness)
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    place = rng.integers(size, size=2)
    alpha = np.roll(small, place, axis=(0, 1))[..., None] / np.float32(255)
    return alpha, alpha * texture(rng, size, *LIGHT)


def offsets(class_name: str, settings: Settings) -> list[tuple[int, int]]:
    """Offset of the shapes in each frame from the crossing of their paths.

    Each half of the video is one round trip, sampled at half steps, so that a
    path and its reverse hold the same points.

    Args:
        class_name (str): One of ``CLASSES``.
        settings (Settings): Gives the number of frames and their size.

    Returns:
        list[tuple[int, int]]: (y, x) in pixels, modulo the picture's size, of
        every frame.
    """
    half_step = settings.size // settings.frames
    travelled = half_step * (2 * np.arange(settings.frames // 2) + 1)
    halves = [np.outer(travelled, STEPS[d]) for d in class_name.split('Then')]
    path = np.concatenate(halves) % settings.size
    return [(int(y), int(x)) for y, x in path]


def render(scene: int, settings: Settings) -> dict[tuple[int, int], np.ndarray]:
    """Draw every frame that the eight videos of a scene are made of.

    Args:
        scene (int): Number of the scene, from 1.
        settings (Settings): Parameters of the data set.

    Returns:
        dict: The shapes' offset (y, x) to the uint8 BGR picture, of shape
        [size, size, 3].
    """
    size = settings.size
    rng = np.random.default_rng([settings.seed, scene])
    still = texture(rng, size, *DARK)
    for _ in range(NUM_STILL):
        mask, paint = shape(rng, size)
        still = still * (1 - mask) + paint
    cover, moving = shape(rng, size)
    for _ in range(NUM_MOVING - 1):
        mask, paint = shape(rng, size)
        cover = cover * (1 - mask) + mask
        moving = moving * (1 - mask) + paint

    pictures = {}
    for offset in {o for name in CLASSES for o in offsets(name, settings)}:
        mask, paint = (np.roll(layer, offset, axis=(0, 1)) for layer in (cover, moving))
        picture = still * (1 - mask) + paint
        pictures[offset] = picture.round().astype(np.uint8)
    return pictures
