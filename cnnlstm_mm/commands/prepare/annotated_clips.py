"""Data sets whose annotations name clips by number: videos, or folders of frames."""

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cnnlstm_mm.text import text_of, truncate_list
from cnnlstm_mm.video_files import find_videos

from .archives import add_max_size, unpack
from .kinetics import link_each
from .preparation import (
    OutputFolder,
    add_workers,
    link_videos,
    prepared_splits,
    read_lines,
    summarize,
    write_lists,
    write_report,
)
from .probing import probe_all


class Annotations(NamedTuple):
    """Classes in the order of their labels, and the class of each clip of 'train' and 'val'."""

    classes: list[str]
    parts: dict[str, dict[str, str]]


def argument_parser(data: str, videos: str, splits: str | None = None) -> argparse.ArgumentParser:
    """The arguments of these tools: ``videos``, ``splits``, --out, --workers, --max-size."""
    parser = argparse.ArgumentParser(description=f'Prepare {data}')
    parser.add_argument('videos', type=Path, help=videos)
    if splits is not None:
        parser.add_argument('splits', type=Path, metavar='annotations', help=splits)
    parser.add_argument('--out', type=Path, default=Path('data', data))
    add_workers(parser)
    add_max_size(parser)
    return parser


def prepare_clips(args: argparse.Namespace, data: str, read: Any, frames: bool = False) -> None:
    """Check each clip of the annotations; write lists, label map and report.

    Args:
        args: See :func:`argument_parser`.
        data: Name of the data set.
        read: Function from the folder of the annotations to :class:`Annotations`.
        frames: Whether a clip may be a folder of JPEG files, numbered from 1, as well.

    Raises:
        FileNotFoundError, RuntimeError, ValueError: For annotations or archives that cannot be
            read, and clips that are there twice.
    """
    named = 'splits' in args
    if not named:  # the folders of the clips say it
        args.splits = args.videos
    with prepared_splits(args, f'prepare_{data}') as output:
        videos = unpack(
            args.videos, output.check_entry(args.out / 'unpacked_videos'), args.max_size
        )
        lists = videos
        if named:
            place = output.check_entry(args.out / 'unpacked_splits')
            lists = unpack(args.splits, place, args.max_size)
        write_clips(args, output, data, read(lists), videos, frames)


def write_clips(
    args: argparse.Namespace,
    output: OutputFolder,
    data: str,
    found: Annotations,
    videos: Path,
    frames: bool,
) -> None:
    """Write into a folder that this run holds; see :func:`prepare_clips`."""
    _check_parts(found)
    files = find_videos(videos, [args.out / 'videos', args.out / 'rawframes'])
    folders = not files and frames
    if folders:
        files = {path.relative_to(videos).as_posix(): path for path in _frame_folders(videos)}
    by_clip = _clips_of(files, found, videos)
    wanted = {clip: label for part in found.parts.values() for clip, label in part.items()}
    used = {clip: by_clip[clip] for clip in wanted if clip in by_clip}
    place = args.out / ('rawframes' if folders else 'videos')
    written = {name: name.replace(' ', '_') for name in used.values()}
    if any(name != path for name, path in written.items()):
        link_each(output, {path: files[name] for name, path in written.items()}, place)
    else:
        link_videos(output, videos, place)
    log = output.check_file(args.out / 'checked.jsonl')
    chosen = {name: files[name] for name in used.values()}
    probed = probe_all(chosen, log, args.workers)
    if folders:
        probed = {name: numbering_fault(chosen[name]) or result for name, result in probed.items()}
    facts = {path: probed[name] for name, path in written.items()}
    label = {name: number for number, name in enumerate(found.classes)}
    rows = {
        part: [
            (written[used[clip]], label[name])
            for clip, name in clips.items()
            if clip in used and probed[used[clip]]['state'] != 'broken'
        ]
        for part, clips in found.parts.items()
    }
    if folders:
        for part, clips in rows.items():
            lines = (f'{path} {facts[path]["frames"]} {number}' for path, number in clips)
            output.write_text(f'{data}_{part}_list_rawframes.txt', text_of(lines))
    else:
        lists = {f'{data}_{part}_list_videos.txt': clips for part, clips in rows.items()}
        write_lists(output, 'videos', lists, facts)
    output.write_text('label_map.txt', text_of(found.classes))
    extra = sorted(set(files) - set(used.values()))
    states = {clip: probed[name] for clip, name in used.items()}
    write_report(summarize(wanted, states, extra), output, 'report.json')


def _clips_of(files: dict[str, Path], found: Annotations, root: Path) -> dict[str, str]:
    """File by the name that the annotations give a clip: its path, or the last part of it."""
    if any(clip in files for part in found.parts.values() for clip in part):
        return {name: name for name in files}
    by_clip: dict[str, str] = {}
    for name, path in files.items():
        clip = path.name if path.is_dir() else path.stem
        first = by_clip.setdefault(clip, name)
        if first != name:
            raise ValueError(
                f'expected one file of the clip {clip} below {root}, got {first} and {name}; fix: '
                'remove all but one'
            )
    return by_clip


def _frame_folders(root: Path) -> list[Path]:
    """Folders that hold JPEG files."""
    return sorted({path.parent for path in root.rglob('*.jpg')})


def numbering_fault(folder: Path) -> dict[str, Any] | None:
    """What :func:`probe_all` gives for JPEG files that are not numbered from 1 without a gap."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in ('.jpg', '.jpeg')]
    strange = sorted(name for name in names if not Path(name).stem.isdigit())
    numbers = sorted(int(Path(name).stem) for name in names if name not in strange)
    gap = next((k for k, number in enumerate(numbers, start=1) if k != number), None)
    if not strange and numbers and gap is None:
        return None
    reason = f'frame {gap or 1} of {len(names)} is missing'
    if strange:
        reason = f'{strange[0]} is not numbered'
    return dict(state='broken', frames=len(numbers), promised=len(numbers), reason=reason)


def _check_parts(found: Annotations) -> None:
    both = sorted(set(found.parts['train']) & set(found.parts['val']))
    if both:
        raise ValueError(
            f'expected each clip in one part, got {truncate_list(both)} in training and '
            'validation; fix: download the annotations again'
        )


def find_file(folder: Path, names: Iterable[str]) -> Path:
    """The first of some file names below a folder.

    Raises:
        FileNotFoundError: If none is there.
    """
    names = list(names)
    for name in names:
        for path in sorted(folder.rglob(name)):
            return path
    raise FileNotFoundError(
        f'expected {" or ".join(names)} below {folder}, got no such file; fix: name the folder of '
        'the official annotations'
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If it cannot be read; with file and line.
    """
    text = '\n'.join(read_lines(path))
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path}, line {error.lineno}: expected JSON, got {error.msg}; fix: download it again'
        ) from None


def entries_of(path: Path, keys: dict[str, type]) -> list[dict[str, Any]]:
    """Read a JSON list of objects that have some keys.

    Args:
        path: The file.
        keys: Type by key.

    Raises:
        ValueError: For another content; with the number of the entry, from 1.
    """
    entries = read_json(path)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: expected a list of clips, got {entries!r:.80}')
    for number, entry in enumerate(entries, start=1):
        for key, kind in keys.items():
            if not isinstance(entry, dict) or not isinstance(entry.get(key), kind):
                raise ValueError(
                    f'{path}, entry {number}: expected {key!r} of type {kind.__name__}, got '
                    f'{entry!r:.80}; fix: repair or remove the entry'
                )
    return entries


def check_class(name: str, classes: list[str], place: str) -> str:
    """Return a class name.

    Raises:
        ValueError: If it is not among the classes; with ``place``, file and line of it.
    """
    if name not in classes:
        raise ValueError(
            f'{place}: expected one of the {len(classes)} classes, got {name!r}; fix: take labels '
            'and lists of one version'
        )
    return name


def add_clip(part: dict[str, str], clip: str, name: str, place: str) -> None:
    """Add a clip to a part.

    Raises:
        ValueError: If it is there already with another class; with ``place``.
    """
    if part.setdefault(clip, name) != name:
        raise ValueError(
            f'{place}: expected one class of the clip {clip}, got {part[clip]!r} and {name!r}; '
            'fix: remove one of both'
        )


def read_table(path: Path) -> list[tuple[int, list[str]]]:
    """Number from 1 and cells of each line of a table parted by semicolons."""
    rows = csv.reader(read_lines(path), delimiter=';')
    return [(number, [c.strip() for c in row]) for number, row in enumerate(rows, 1) if any(row)]
