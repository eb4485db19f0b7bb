"""Facts about videos, and the checked index of the lists that a preparation writes."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from cnnlstm_mm.storage import OutputFolder

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
    """Decode all frames of a folder of JPEG files, which are numbered from 1 without a gap.

    Returns:
        See :func:`cnnlstm_mm.commands.prepare.probing.probe`.
    """
    import cv2

    names = {p.stem: p for p in Path(folder).iterdir() if p.suffix.lower() in ('.jpg', '.jpeg')}
    numbers = sorted(int(stem) for stem in names if stem.isdigit())
    strange = sorted(stem for stem in names if not stem.isdigit())
    gap = next((k for k, number in enumerate(numbers, start=1) if k != number), None)
    result: dict[str, Any] = dict(state='ok', frames=len(numbers), promised=len(numbers))
    if strange:
        result.update(state='broken', reason=f'{names[strange[0]].name} is not numbered')
    elif gap is not None or not numbers:
        result.update(state='broken', reason=f'frame {gap or 1} of {len(names)} is missing')
    else:
        for path in (names[stem] for stem in sorted(names)):
            if cv2.imread(str(path)) is None:
                result.update(state='broken', reason=f'{path.name} cannot be decoded')
                break
    return result


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
