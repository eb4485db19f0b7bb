"""Make the built-in data set: real videos whose classes differ only in order.

Textured shapes move together over a still scene of a background and shapes
like them. They go once around the picture in one direction, leaving at one
edge and coming in at the opposite one, then once around in a perpendicular
direction. The eight classes are the eight (first, second) direction pairs.

Nothing but the order of the frames tells them apart. The videos of a scene
hold the same encoded frames, in eight orders, and the shapes start anywhere in
the picture, so that the positions at any one time say nothing either. Played
backwards, each class is another one (RightThenDown is UpThenLeft). A model
that averages over frames is at chance.

The layout and the lists are UCF101's. A scene is a group (gGGG), and never in
both lists::

    OUT/videos/RightThenUp/v_RightThenUp_g001_c01.avi
    OUT/quickstart_{train,val}_split_1_videos.txt
    OUT/label_map.txt, OUT/preview.png, OUT/settings.json
"""

import argparse
import errno
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from cnnlstm_mm.storage import OutputFolder, atomic_path, differing_settings, locked

from .preparation import check_workers, text_of

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
FPS = 8
POLYGONS = dict(triangle=3, diamond=4, pentagon=5, hexagon=6)
SHAPES = ['disc', 'ring', 'cross', *POLYGONS]


class Settings(NamedTuple):
    """Parameters that, with the library versions, determine every byte of the data set."""

    seed: int = 0
    train_per_class: int = 160  # videos
    val_per_class: int = 40  # videos, of other scenes
    size: int = 96  # height and width in pixels, for decord a multiple of 32
    frames: int = 16  # length of a video, even

    def check(self) -> None:
        """Raise ``ValueError`` for values out of range."""
        if self.frames < 4 or self.frames % 2:
            raise ValueError(f'expected frames to be even and at least 4, got {self.frames}')
        if self.size < 32 or self.size % 32 or self.size % self.frames:
            raise ValueError(
                'expected size to be a multiple of 32 (decord pads others) and of '
                f'frames ({self.frames}), got {self.size}'
            )
        if min(self.train_per_class, self.val_per_class) < 1:
            raise ValueError(
                'expected train_per_class and val_per_class to be at least 1, got '
                f'{self.train_per_class} and {self.val_per_class}'
            )
        if self.seed < 0:
            raise ValueError(f'expected a seed of at least 0, got {self.seed}')


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


def write_video(path: Path, pictures: list[np.ndarray]) -> None:
    """Encode a video as Motion-JPEG, which codes each picture by itself.

    Args:
        path (Path): The file, written atomically.
        pictures (list[np.ndarray]): uint8 BGR, shape [size, size, 3] each.

    Raises:
        OSError: If OpenCV cannot write the file.
    """

    def check_frames(part: Path) -> None:
        # OpenCV says nothing of a full disk.
        capture = cv2.VideoCapture(str(part))
        whole = all(capture.grab() for _ in pictures)
        capture.release()
        if not whole:
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                errno.ENOSPC,
                f'expected {len(pictures)} frames after writing, got fewer, with {free} bytes '
                'free; fix: free some space and start again',
                str(path),
            )

    with atomic_path(path, check_frames, '.avi') as part:
        writer = cv2.VideoWriter(
            str(part),
            cv2.CAP_OPENCV_MJPEG,
            cv2.VideoWriter.fourcc(*'MJPG'),
            FPS,
            pictures[0].shape[1::-1],
        )
        if not writer.isOpened():
            raise OSError(
                'expected OpenCV to write a Motion-JPEG video, got an error at '
                f'{path}; fix: reinstall it'
            )
        for picture in pictures:
            writer.write(picture)
        writer.release()


def make_scene(scene: int, out: Path, settings: Settings) -> int:
    """Write the missing videos of a scene, one per class.

    Args:
        scene (int): Number of the scene, from 1.
        out (Path): Folder of the data set.
        settings (Settings): Parameters of the data set.

    Returns:
        int: The number of videos written.
    """
    paths = {name: out / 'videos' / video_path(name, scene) for name in CLASSES}
    missing = [name for name in CLASSES if not paths[name].exists()]
    if missing:
        cv2.setNumThreads(1)
        pictures = render(scene, settings)
        for name in missing:
            write_video(paths[name], [pictures[o] for o in offsets(name, settings)])
    return len(missing)


def write_preview(path: Path, scene: int, settings: Settings) -> None:
    """Write a contact sheet of a scene: one row per class, every second frame."""
    pictures = render(scene, settings)
    rows = []
    for name in CLASSES:
        title = np.full((settings.size, 140, 3), 255, np.uint8)
        cv2.putText(
            title,
            name,
            (6, settings.size // 2),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.45,
            (0, 0, 0),
            1,
            cv2.LINE_AA,
        )
        row = [title] + [pictures[o] for o in offsets(name, settings)[::2]]
        rows.append(
            np.hstack([np.pad(tile, ((2, 2), (2, 2), (0, 0)), constant_values=255) for tile in row])
        )
    with atomic_path(path) as part:
        part.write_bytes(cv2.imencode('.png', np.vstack(rows))[1].tobytes())


def prepare(output: OutputFolder, settings: Settings, overwrite: bool) -> None:
    """Make the folders, or check that they hold a data set of these settings.

    Args:
        output (OutputFolder): The data set's folder.
        settings (Settings): The wanted data set's.
        overwrite (bool): Remove the videos of the data set that is there.

    Raises:
        FileExistsError: If the folder holds other videos.
    """
    out = output.root
    record, videos = out / 'settings.json', out / 'videos'
    wanted = dict(settings._asdict(), version=VERSION)
    if record.exists():
        changed = differing_settings(json.loads(record.read_text()), wanted)
        if overwrite:
            if videos.exists():
                shutil.rmtree(output.check_file(videos))
            for video_list in out.glob('quickstart_*_videos.txt'):
                output.check_entry(video_list).unlink()
        elif changed:
            raise FileExistsError(
                f'expected a data set with these settings or none, got {out} with '
                f'{", ".join(changed)}; fix: replace it with --overwrite, or name another --out'
            )
    elif videos.exists():
        raise FileExistsError(
            f'expected a folder that this tool made, got {videos}; fix: name another --out'
        )
    for name in CLASSES:
        output.check_file(videos / name).mkdir(parents=True, exist_ok=True)
    output.write_text(record.name, json.dumps(wanted, indent=2) + '\n')
    output.remove_parts()


def make_quickstart(
    out: Path, settings: Settings = Settings(), workers: int = 1, overwrite: bool = False
) -> int:
    """Make the data set, or its missing videos.

    Args:
        out (Path): Folder of the data set.
        settings (Settings): Parameters of the data set.
        workers (int): Number of processes. Defaults to 1.
        overwrite (bool): Replace an existing data set. Defaults to False.

    Returns:
        int: The number of videos written.

    Raises:
        ValueError: If a setting is out of range.
        FileExistsError: If ``out`` holds videos of other settings.
    """
    settings.check()
    check_workers(workers)
    output = OutputFolder(out)
    with locked(out, 'make_quickstart'):
        prepare(output, settings, overwrite)
        first = settings.val_per_class + 1
        splits = dict(val=range(1, first), train=range(first, first + settings.train_per_class))
        scenes = range(1, first + settings.train_per_class)
        with ProcessPoolExecutor(workers) as pool:
            jobs = pool.map(partial(make_scene, out=out, settings=settings), scenes, chunksize=4)
            written = sum(track(jobs, 'Making videos', total=len(scenes)))
        for split, members in splits.items():
            lines = [
                f'{video_path(name, scene)} {label}'
                for scene in members
                for label, name in enumerate(CLASSES)
            ]
            output.write_text(f'quickstart_{split}_split_1_videos.txt', text_of(lines))
        output.write_text('label_map.txt', text_of(CLASSES))
        write_preview(output.check_file(out / 'preview.png'), 1, settings)
    return written


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n')[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    default = Settings()
    parser.add_argument('--out', type=Path, default=Path('data/quickstart'))
    parser.add_argument('--seed', type=int, default=default.seed)
    parser.add_argument(
        '--train-per-class', type=int, metavar='N', default=default.train_per_class, help='videos'
    )
    parser.add_argument(
        '--val-per-class', type=int, metavar='N', default=default.val_per_class, help='videos'
    )
    parser.add_argument('--size', type=int, default=default.size, help='height and width in pixels')
    parser.add_argument('--frames', type=int, default=default.frames)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a data set with other settings'
    )
    return parser


def make(args: argparse.Namespace) -> None:
    settings = Settings(*(getattr(args, name) for name in Settings._fields))
    written = make_quickstart(args.out, settings, args.workers, args.overwrite)
    total = len(CLASSES) * (settings.train_per_class + settings.val_per_class)
    print(
        f'{args.out}: {total} videos, {written} written now, '
        f'{total - written} found. See {args.out}/preview.png.'
    )


def main(argv: list[str] | None = None) -> int:
    from cnnlstm_mm.cli import run_command

    return run_command(make, argument_parser(), argv)
