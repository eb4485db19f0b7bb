"""Frames of a mover that follows a path over a background."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

FINE = 2  # masks are drawn so many times as large
SHIFT = 4  # fractional bits of cv2's coordinates
MARGIN = 12  # pixels by which the background is larger, on each side
Size = tuple[int, int]
Draw = Callable[[int], list[tuple[np.ndarray, np.ndarray]]]  # layers (cover, paint) of frame t


def draw_clip(path: np.ndarray, size: Size, rng: np.random.Generator) -> np.ndarray:
    """Draw the frames in which a hand, or a blob, follows a path.

    A hand points with one finger; its forearm leaves the frame below. The camera shakes, the light
    drifts, and the sensor has noise, each in some clips and of random strength.

    Args:
        path: The tip in each frame, [T, 2] as (x, y) from 0 to 1.
        size: (height, width) in pixels.
        rng: The source of randomness.

    Returns:
        uint8 RGB frames [T, height, width, 3].
    """
    draw = _hand(path, size, rng) if rng.random() < 0.85 else _blob(path, size, rng)
    scene = draw_background((size[0] + 2 * MARGIN, size[1] + 2 * MARGIN), rng)
    shake = _drift(len(path), 2, rng) * rng.uniform(0, 4) * (rng.random() < 0.7)
    gain = 1 + _drift(len(path), 1, rng) * rng.uniform(0, 0.25) * (rng.random() < 0.4)
    if rng.random() < 0.12:  # the camera adapts to the light
        gain = (
            gain + rng.uniform(0.3, 1) * np.exp(-np.arange(len(path)) / rng.uniform(1, 4))[:, None]
        )
    shadow = rng.uniform(0.5, 0.9) if rng.random() < 0.25 else None
    offset = rng.uniform(-0.15, 0.15, 2) * size[::-1]
    grain: Any = None
    if rng.random() < 0.7:
        grain = rng.standard_normal((size[0] + 16, size[1] + 16, 3), np.float32)
        grain *= np.float32(rng.uniform(0, 8))
    blur = rng.uniform(0.4, 1.1) if rng.random() < 0.4 else 0
    frames: Any = np.empty((len(path), *size, 3), np.uint8)
    for t in range(len(path)):
        x, y = shake[t] + MARGIN
        frame: Any = cv2.warpAffine(
            scene, np.array([[1, 0, -x], [0, 1, -y]]), size[::-1], borderMode=cv2.BORDER_REFLECT
        )
        layers = draw(t)
        if shadow is not None:
            cover = cv2.warpAffine(
                layers[0][0], np.array([[1, 0, offset[0]], [0, 1, offset[1]]]), size[::-1]
            )
            frame *= 1 - (1 - shadow) * cv2.blur(cover, (5, 5))[..., None]
        for cover, paint in layers:
            frame += cover[..., None] * (paint - frame)
        frame *= gain[t]
        if blur:
            frame = cv2.GaussianBlur(frame, (0, 0), blur)
        if grain is not None:
            y, x = rng.integers(0, 17, 2)
            frame += grain[y : y + size[0], x : x + size[1]]
        frames[t] = frame.clip(0, 255)
    return frames


def texture(
    size: Size, first: np.ndarray, second: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Smooth noise, stripes or tiles between two colours, float32 [height, width, 3]."""
    grain = np.zeros(size, np.float32)
    for cells, weight in ((2, 1.0), (5, 0.7), (11, 0.4), (29, 0.3)):
        grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        grain += weight * rng.random() * cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC)
    kind = rng.random()
    if kind < 0.45:
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / max(size)
        angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
        across = x * np.cos(angle) + y * np.sin(angle) + 0.02 * grain
        waves = np.sin(2 * np.pi * rng.uniform(2, 16) * across)
        if kind < 0.1:  # tiles
            waves *= np.sin(
                2 * np.pi * rng.uniform(2, 16) * (y * np.cos(angle) - x * np.sin(angle))
            )
        grain = grain * 0.5 + rng.uniform(0.3, 3) * waves
    mix = 1 / (1 + np.exp(-rng.uniform(0.5, 4) * grain[..., None]))
    return (first + (second - first) * mix).astype(np.float32)


def draw_background(size: Size, rng: np.random.Generator) -> np.ndarray:
    """A wall, a curtain or a room full of things, float32 RGB [height, width, 3]."""
    base = (
        rng.uniform(0, 255, 3) if rng.random() < 0.4 else rng.uniform(0, 255) + rng.normal(0, 12, 3)
    )
    other = base + rng.normal(0, rng.uniform(5, 70), 3) + rng.normal(0, 25)
    scene = texture(size, base.clip(0, 255), other.clip(0, 255), rng)
    for _ in range(rng.integers(0, 12) if rng.random() < 0.6 else 0):
        mask = np.zeros(size, np.uint8)
        centre = (rng.uniform(0, 1, 2) * size[::-1]).astype(int)
        kind = rng.random()
        if kind < 0.5:
            box = (
                centre.tolist(),
                (rng.uniform(0.03, 0.5, 2) * max(size)).tolist(),
                rng.choice([0, 0, rng.uniform(0, 90)]),
            )
            cv2.fillPoly(mask, [cv2.boxPoints(box).astype(np.int32)], 255)
        elif kind < 0.75:
            axes = (rng.uniform(0.02, 0.2, 2) * max(size)).astype(int) + 1
            cv2.ellipse(mask, centre.tolist(), axes.tolist(), rng.uniform(0, 180), 0, 360, 255, -1)
        else:
            end = centre + (rng.normal(0, 0.4, 2) * max(size)).astype(int)
            cv2.line(mask, centre.tolist(), end.tolist(), 255, int(rng.integers(1, 8)))
        paint = (
            texture(size, rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), rng)
            if rng.random() < 0.4
            else rng.uniform(0, 255, 3)
        )
        cover = mask[..., None] / np.float32(255)
        scene += cover * (paint - scene).astype(np.float32)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / max(size) - 0.5
    slope = rng.normal(0, 0.5, 2)
    scene *= (1 + slope[0] * x + slope[1] * y).clip(0.2, 2)[..., None]
    return scene * np.float32(rng.uniform(0.25, 1.25)) if rng.random() < 0.5 else scene


def _drift(frames: int, values: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random walk [T, values] of about unit size."""
    walk = np.cumsum(rng.normal(0, 1, (frames, values)), axis=0)
    return (walk - walk.mean(axis=0)) / np.sqrt(frames)


def _points(points: np.ndarray) -> np.ndarray:
    return (points * FINE * (1 << SHIFT)).round().astype(np.int32)


def _capsule(
    mask: np.ndarray, start: np.ndarray, end: np.ndarray, wide: float, narrow: float
) -> None:
    """Fill a tapered bar with round ends; radii in pixels."""
    along = end - start
    across = np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-6)
    quad = [
        start + wide * across,
        end + narrow * across,
        end - narrow * across,
        start - wide * across,
    ]
    cv2.fillPoly(mask, [_points(np.array(quad))], 255, shift=SHIFT)
    for centre, radius in ((start, wide), (end, narrow)):
        cv2.circle(
            mask, _points(centre).tolist(), int(radius * FINE * (1 << SHIFT)), 255, -1, shift=SHIFT
        )


def _cover(mask: np.ndarray, size: Size) -> np.ndarray:
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_AREA) / np.float32(255)


def _skin(rng: np.random.Generator) -> np.ndarray:
    """Colour of a hand in any light, RGB; now and then any colour."""
    if rng.random() < 0.15:
        return rng.uniform(0, 255, 3)
    light = rng.uniform(35, 235)
    return light * np.array([1, rng.uniform(0.6, 0.92), rng.uniform(0.4, 0.88)])


def _painted(size: Size, colour: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    other = (colour * rng.uniform(0.4, 1.3)).clip(0, 255)
    return (
        texture(size, colour, other, rng)
        if rng.random() < 0.7
        else np.broadcast_to(colour, (*size, 3)).astype(np.float32)
    )


def _hand(path: np.ndarray, size: Size, rng: np.random.Generator) -> Draw:
    """The layers (cover, paint) of a pointing hand in frame t, as a function of t."""
    height, width = size
    unit = height * rng.uniform(0.75, 1.35)
    tips = path * (width, height)
    centre = (tips.max(axis=0) + tips.min(axis=0)) / 2
    reach = rng.uniform(0.7, 1.6) * height
    lean = np.deg2rad(rng.normal(25, 22) if rng.random() < 0.85 else rng.normal(-20, 20))
    follow = rng.uniform(0.2, 0.95)
    elbows = centre + reach * np.array([np.sin(lean), np.cos(lean)]) + follow * (tips - centre)
    straight = rng.uniform(0.2, 1)  # of the finger: 1 goes on from the forearm
    tilt = np.deg2rad(rng.normal(-5, 14))
    finger, thick = unit * rng.uniform(0.1, 0.22), unit * rng.uniform(0.018, 0.036)
    palm, arm = unit * rng.uniform(0.055, 0.1), unit * rng.uniform(0.045, 0.085)
    knuckles = rng.normal(0, 0.6, (rng.integers(0, 4), 2))
    colour = _skin(rng)
    paint = _painted((2 * height, 2 * width), colour, rng)
    sleeve, cuff = None, rng.uniform(0.15, 0.6) * unit
    if rng.random() < 0.35:
        sleeve = texture((height, width), rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), rng)
    bracelet = rng.uniform(0, 255, 3).astype(np.float32) if rng.random() < 0.2 else None

    def draw(t: int) -> list[tuple[np.ndarray, np.ndarray]]:
        tip, elbow = tips[t], elbows[t]
        away = (elbow - tip) / np.linalg.norm(elbow - tip)
        angle = straight * np.arctan2(away[0], away[1]) + tilt
        base = tip + finger * np.array([np.sin(angle), np.cos(angle)])
        hand = base + 0.9 * palm * away
        wrist = hand + palm * 1.3 * away
        end = wrist + 2 * height * away
        mask = np.zeros((height * FINE, width * FINE), np.uint8)
        _capsule(mask, base, tip, thick * 1.2, thick * 0.85)
        cv2.circle(
            mask, _points(hand).tolist(), int(palm * FINE * (1 << SHIFT)), 255, -1, shift=SHIFT
        )
        for knuckle in knuckles:
            cv2.circle(
                mask,
                _points(hand + palm * knuckle).tolist(),
                int(0.5 * palm * FINE * (1 << SHIFT)),
                255,
                -1,
                shift=SHIFT,
            )
        _capsule(mask, hand, wrist, palm * 0.9, arm)
        _capsule(mask, wrist, end, arm, arm * 2.2)
        x, y = (-tip + (width, height)) / 2  # the skin moves with the hand
        skin = cv2.warpAffine(paint, np.array([[1, 0, -x], [0, 1, -y]]), (width, height))
        layers = [(_cover(mask, size), skin)]
        if bracelet is not None:
            mask = np.zeros_like(mask)
            across = np.array([-away[1], away[0]])
            _capsule(mask, wrist - arm * across, wrist + arm * across, 0.2 * arm, 0.2 * arm)
            layers.append((_cover(mask, size), bracelet))
        if sleeve is not None:
            mask = np.zeros_like(mask)
            _capsule(mask, wrist + cuff * away, end, arm * 1.3, arm * 2.6)
            layers.append((_cover(mask, size), sleeve))
        return layers

    return draw


def _blob(path: np.ndarray, size: Size, rng: np.random.Generator) -> Draw:
    """The layers (cover, paint) of a textured shape in frame t, as a function of t."""
    height, width = size
    tips = path * (width, height)
    radius = height * rng.uniform(0.05, 0.13)
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(
        0.6, 1.2, (len(angles), 1)
    )
    paint = texture(size, rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), rng)

    def draw(t: int) -> list[tuple[np.ndarray, np.ndarray]]:
        mask = np.zeros((height * FINE, width * FINE), np.uint8)
        cv2.fillPoly(mask, [_points(tips[t] + radius * corners)], 255, shift=SHIFT)
        return [(_cover(mask, size), paint)]

    return draw
