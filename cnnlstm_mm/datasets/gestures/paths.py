"""Paths of pointing gestures, in frame units: x to the right, y down."""

import numpy as np

STROKES: dict[str, list[tuple[float, float]]] = dict(
    caret=[(0, 1), (0.5, 0), (1, 1)],
    delete=[(0, 0), (1, 1), (0, 1), (1, 0)],
    down=[(0.5, 0), (0.5, 1)],
    left=[(1, 0.5), (0, 0.5)],
    right=[(0, 0.5), (1, 0.5)],
    square=[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)],
    star=[(0.18, 1), (0.5, 0), (0.82, 1), (0, 0.38), (1, 0.38), (0.18, 1)],
    tick=[(0, 0.25), (0.4, 1), (1, 0)],
    up=[(0.5, 1), (0.5, 0)],
)
CIRCLE = 'circle'
REVERSED = 'reversed '  # the path of the name that follows, from its end to its start
NAMES = (*STROKES, CIRCLE)
FINE = 256  # points of a path before it is sampled in time


def check_name(name: str) -> None:
    """Raise ``ValueError`` for a gesture that cannot be drawn."""
    if name.removeprefix(REVERSED) not in NAMES:
        raise ValueError(
            f'expected a gesture of {", ".join(NAMES)}, with or without {REVERSED!r} before it, '
            f'got {name!r}; fix: take one of these'
        )


def draw_path(name: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a path as a hand might trace it.

    Size, place, angle, proportions, corners, speed and rests are random; the order of the strokes
    is the gesture's.

    Args:
        name: One of ``NAMES``, with or without ``REVERSED`` before it.
        frames: T.
        rng: The source of randomness.

    Returns:
        The tip in each frame, float64 [T, 2] as (x, y): the frame is the square from 0 to 1.
    """
    plain = name.removeprefix(REVERSED)
    points, pace = _circle(rng) if plain == CIRCLE else _polyline(STROKES[plain], rng)
    if plain != name:
        points, pace = points[::-1], pace[::-1]
    points = _placed(points, rng)
    if rng.random() < 0.7:
        points = _smooth(points, int(rng.integers(3, 25)))
    return points[_times(pace, frames, rng)]


def _circle(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Counterclockwise on the screen; from anywhere between the right side and the top."""
    start, turn = np.deg2rad([rng.uniform(-60, 130), rng.uniform(310, 470)])
    angles = start + turn * np.linspace(0, 1, FINE)
    points = 0.5 + 0.5 * np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    return points, np.full(FINE - 1, turn / FINE)


def _polyline(
    corners: list[tuple[float, float]], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the strokes, and the share of time that each step takes."""
    vertices = np.array(corners) + rng.normal(0, 0.06, (len(corners), 2))
    lengths = np.linalg.norm(np.diff(vertices, axis=0), axis=1)
    shares = lengths ** rng.uniform(0.4, 1) * rng.uniform(0.65, 1.5, len(lengths))
    ease = rng.uniform(0, 0.8)
    s = np.linspace(0, 1, FINE // len(lengths))
    points, pace = [], []
    for k, share in enumerate(shares):
        points.append(vertices[k] + s[:, None] * (vertices[k + 1] - vertices[k]))
        bow = rng.normal(0, 0.04) * np.sin(np.pi * s)
        points[-1] += bow[:, None] * (vertices[k + 1] - vertices[k])[::-1] * (1, -1)
        middle = (s[1:] + s[:-1]) / 2
        slow = 1 + ease * (1 / np.sqrt(4 * middle * (1 - middle) + 0.1) - 1)
        pace.append(np.append(share * slow / slow.sum(), 0))
    return np.concatenate(points), np.concatenate(pace)[:-1]


def _placed(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scaled, turned and moved into the frame."""
    points = points - (points.max(axis=0) + points.min(axis=0)) / 2
    angle = np.deg2rad(rng.normal(0, 10))
    cos, sin = np.cos(angle), np.sin(angle)
    points = points @ np.array([[cos, sin], [-sin, cos]])
    points = points * rng.uniform((0.25, 0.3), (0.75, 0.72))
    return points + rng.uniform((0.35, 0.33), (0.65, 0.6))


def _smooth(points: np.ndarray, width: int) -> np.ndarray:
    padded = np.pad(points, ((width, width), (0, 0)), mode='edge')
    kernel = np.hanning(2 * width + 3)[1:-1]
    kernel /= kernel.sum()
    return np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], axis=1)


def _times(pace: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Index of the point in each frame: rests at both ends, jitter between."""
    before, after = rng.uniform(0, 0.18, 2) * (rng.random(2) < 0.6)
    moments = np.append(0, np.cumsum(pace)) / pace.sum() * (1 - before - after) + before
    clock = np.linspace(0, 1, frames) + rng.uniform(-0.4, 0.4, frames) / frames
    return np.searchsorted(moments, np.sort(clock)).clip(0, len(moments) - 1)
