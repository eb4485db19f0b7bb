"""Facts about videos, and the checked index of the lists that a preparation writes."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from cnnlstm_mm.storage import OutputFolder
from cnnlstm_mm.video_files import PICTURES

FACTS = ('frames', 'fps', 'width', 'height', 'codec', 'rotation')


def video_facts(capture: Any) -> dict[str, Any]:
    """Frame rate, upright size, codec and rotation of an open ``cv2.VideoCapture``."""
    import cv2

    fps = capture.get(cv2.CAP_PROP_FPS)
    fourcc = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return dict(
        fps=round(fps, 6) if 0 < fps < 1e4 else None,
        width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        codec=fourcc.to_bytes(4, 'little').decode('latin1').strip('\0'),
        rotation=int(capture.get(cv2.CAP_PROP_ORIENTATION_META)),
    )


def probe_frames(folder: str) -> dict[str, Any]:
    """Decode all pictures of a folder.

    Returns:
        See :func:`cnnlstm_mm.commands.prepare.probing.probe`.
    """
    from PIL import Image

    pictures = sorted(file for file in Path(folder).iterdir() if file.suffix.lower() in PICTURES)
    count = len(pictures)
    for picture in pictures:
        try:
            Image.open(picture).load()  # OpenCV fills what is missing of a JPEG file with grey
        except Exception as error:
            reason = f'{picture.name} cannot be decoded: {error}'.replace(f'{folder}/', '')
            return dict(state='broken', frames=count, promised=count, reason=reason)
    return dict(state='ok', frames=count, promised=count)


def second_look(path: str, frames: int, promised: int) -> tuple[int, int]:
    """Look again at a video of which OpenCV decodes no frame, or fewer than its header promises.

    Returns:
        Frames that another decoder reads, if OpenCV reads none, and the frames promised, less
        those that an edit list hides.
    """
    # Here: the package takes seconds to import, and few videos need it.
    from cnnlstm_mm.datasets.decoders import decoder_classes
    from cnnlstm_mm.datasets.decoders.video_track import video_track

    if frames:
        return frames, frames if video_track(path).hides else promised
    for kind in decoder_classes():
        try:
            decoder = kind(os.path.abspath(path))
            if len(decoder.get(np.arange(1))):
                return decoder.frames, promised
        except Exception:
            continue
    return 0, promised


def write_list_index(
    output: OutputFolder,
    folder: str,
    lists: dict[str, list[tuple[str, int]]],
    probed: dict[str, dict],
) -> None:
    """Write ``clips.sqlite`` beside the lists and print clips that are there twice.

    Args:
        output: Folder of the lists, which are written already.
        folder: Folder below it that their paths start from.
        lists: Path and label of each line, by the list's name.
        probed: What is known of each path.
    """
    from cnnlstm_mm.datasets import clip_index

    facts = {}
    for path in {path for rows in lists.values() for path, _ in rows}:
        stat = os.stat(output.root / folder / path)
        known = {key: probed[path][key] for key in FACTS if key in probed[path]}
        facts[path] = dict(known, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    index = output.check_file(output.root / clip_index.NAME)
    clip_index.write_index(index, folder, lists, facts)
    groups = clip_index.duplicates(index)
    shown = [sorted(group) for group in groups]
    for text, chosen in (
        ('clips that are there twice or more', shown),
        (
            'clips that stand in a training list and in a list of its test',
            [g for g in shown if crosses(g)],
        ),
    ):
        if chosen:
            print(f'NOTE: {len(chosen)} {text}:')
            for group in chosen[:10]:
                print(f'  {" = ".join(path for path, _ in group)}')
            print('  ...' * (len(chosen) > 10), end='\n' * (len(chosen) > 10))


def crosses(group: list[tuple[str, set[str]]]) -> bool:
    """Whether copies of a clip stand in a list and in the one that tests it.

    Lists belong together whose names differ by 'train' and 'val' or 'test'.
    """
    names = [lists for _, lists in group]
    return any(
        name.replace('_train_', f'_{part}_') in other
        for one in names
        for name in one
        if '_train_' in name
        for part in ('val', 'test')
        for other in names
    )
