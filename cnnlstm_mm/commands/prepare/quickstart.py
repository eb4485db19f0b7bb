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
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from cnnlstm_mm.storage import OutputFolder, atomic_path, locked
from cnnlstm_mm.text import text_of

from .preparation import check_workers, claim_made_data
from .scenes import CLASSES, VERSION, Settings, offsets, render, video_path

FPS = 8


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
        claim_made_data(
            output,
            dict(settings._asdict(), version=VERSION),
            overwrite,
            [out / 'videos' / name for name in CLASSES],
            'quickstart_*_videos.txt',
        )
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
