"""Write lists, label map and report for a local copy of Kinetics-400, 600 or 700.

    cnnlstm-mm prepare kinetics train VIDEOS train.csv --data kinetics400
    cnnlstm-mm prepare kinetics val VIDEOS val.csv --data kinetics400

VIDEOS holds class folders (``abseiling/ID_000095_000105.mp4``, with or without
spaces in their names), or all clips flat (``ID_000095_000105.mp4``, or
``ID.mp4``), or both. The csv is the official one, with the columns label,
youtube_id, time_start and time_end. Below --out (data/KINETICS) it writes::

    videos_train/...                     a link to VIDEOS, links to each clip
                                         without spaces, or resized copies
    kinetics400_train_list_videos.txt, label_map.txt
    report_train.json, checked_train.jsonl

Nothing is downloaded, and VIDEOS is not changed. Every clip is decoded once;
those that are missing or broken are left out of the list and named in the
report. A killed run resumes where it stopped when it is started again.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

from cnnlstm_mm.cli import run_command
from cnnlstm_mm.storage import is_below
from cnnlstm_mm.text import text_of
from cnnlstm_mm.video_files import find_videos

from .preparation import (
    OutputFolder,
    add_workers,
    check_there,
    check_workers,
    link_videos,
    prepared_folder,
    read_lines,
    summarize,
    write_lists,
    write_report,
)
from .probing import probe_all
from .resizing import class_folder, ffmpeg, resize_all, written_name

PARTS = ('train', 'val', 'test')
CLASSES = dict(kinetics400=400, kinetics600=600, kinetics700=700)


class Clip(NamedTuple):
    """A row of the annotation file."""

    label: str
    youtube_id: str
    start: int  # seconds
    end: int

    @property
    def name(self) -> str:
        """Stem of the file name that the official download scripts give the clip."""
        return f'{self.youtube_id}_{self.start:06d}_{self.end:06d}'


def read_csv(path: Path) -> list[Clip]:
    """Read an annotation file.

    Args:
        path (Path): With the columns label, youtube_id, time_start, time_end.

    Raises:
        ValueError: If a column is missing or a row cannot be read; names file
            and line.
    """
    clips = []
    reader = csv.DictReader(read_lines(path))
    wanted = ('label', 'youtube_id', 'time_start', 'time_end')
    lacking = [name for name in wanted if name not in (reader.fieldnames or ())]
    if lacking:
        raise ValueError(
            f'{path}: expected the column {", ".join(lacking)}, got {reader.fieldnames}; fix: '
            'name the annotation file with labels'
        )
    for row in reader:
        try:
            clips.append(
                Clip(
                    row['label'].strip(' "'),
                    row['youtube_id'],
                    int(float(row['time_start'])),
                    int(float(row['time_end'])),
                )
            )
        except (AttributeError, OverflowError, TypeError, ValueError):
            raise ValueError(
                f'{path}, line {reader.line_num}: expected a label, a YouTube id and two times '
                f'in seconds, got {row}; fix: repair or remove the line'
            ) from None
    if not clips:
        raise ValueError(f'{path}: expected at least one clip, got none; fix: download it again')
    return clips


def find_clips(clips: list[Clip], videos: dict[str, Path]) -> dict[Clip, str]:
    """Find the file of each clip.

    Args:
        clips (list[Clip]): Rows of the annotation file.
        videos (dict[str, Path]): See :func:`find_videos`.

    Returns:
        dict[Clip, str]: Path below VIDEOS of each clip found.

    Raises:
        ValueError: If two files have a clip's name.
    """
    by_stem: dict[str, list[str]] = {}
    for name in videos:
        by_stem.setdefault(Path(name).stem, []).append(name)
    times: dict[str, int] = {}
    for clip in clips:
        times[clip.youtube_id] = times.get(clip.youtube_id, 0) + 1
    found = {}
    for clip in clips:
        stems = [clip.name]
        if times[clip.youtube_id] == 1:
            stems.append(clip.youtube_id)
        for stem in stems:
            names = by_stem.get(stem, [])
            folder = class_folder(clip.label)
            named = [name for name in names if class_folder(Path(name).parent.name) == folder]
            names = named or names
            if len(names) > 1:
                raise ValueError(
                    f'expected one file of {clip.name}, got {len(names)}: {", ".join(names)}; fix: '
                    'remove all but one'
                )
            if names:
                found[clip] = names[0]
                break
    return found


def link_each(output: OutputFolder, videos: dict[str, Path], folder: Path) -> None:
    """Let each path below a folder lead to a video.

    Where the folder was a link to VIDEOS, a folder of links takes its place when it is complete.

    Args:
        output (OutputFolder): Where to write.
        videos (dict[str, Path]): The video by the path below ``folder``.
        folder (Path): In the output.

    Raises:
        FileExistsError: If a path exists and is not a link.
    """
    new = folder.with_name(f'.{folder.name}.new') if not folder.is_dir() else folder
    if folder.is_symlink():
        new = folder.with_name(f'.{folder.name}.new')
    for name, source in videos.items():
        output.link(new / name, source)
    if new != folder:
        if folder.is_symlink():
            output.check_entry(folder).unlink()
        new.rename(folder)


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description='Prepare Kinetics')
    parser.add_argument('part', choices=PARTS)
    parser.add_argument('videos', type=Path, help='folder of the clips')
    parser.add_argument('csv', type=Path, help='annotation file of this part')
    parser.add_argument('--data', choices=sorted(CLASSES), required=True)
    parser.add_argument('--out', type=Path, help='default: data/DATA')
    parser.add_argument(
        '--short-side',
        type=int,
        help='write copies with this short side, such as 340; needs ffmpeg',
    )
    add_workers(parser)
    return parser


def prepare(args: argparse.Namespace) -> None:
    """Write lists, label map and report."""
    check_workers(args.workers)
    check_there(args.videos, args.csv)
    if not args.videos.is_dir():
        raise ValueError(f'{args.videos}: expected the folder of the clips, got a file')
    if args.short_side is not None:
        if not 16 <= args.short_side <= 8192:
            raise ValueError(f'--short-side: expected 16 to 8192 pixels, got {args.short_side}')
        ffmpeg()
    clips = read_csv(args.csv)
    out = args.out or Path('data', args.data)
    settings = dict(
        tool='prepare_kinetics',
        data=args.data,
        part=args.part,
        videos=str(args.videos.resolve()),
        csv=args.csv.name,
        short_side=args.short_side,
    )
    folder, stamp = out / f'videos_{args.part}', f'settings_{args.part}.json'
    if args.short_side and folder.exists() and not (out / stamp).exists():
        raise ValueError(
            f'{folder}: expected {stamp} beside it, which says how its copies were made, got none; '
            'fix: name another --out'
        )
    tool = f'prepare_kinetics {args.part}'
    with prepared_folder(out, tool, settings, [args.videos], stamp) as output:
        write(args, clips, output)


def write(args: argparse.Namespace, clips: list[Clip], output: OutputFolder) -> None:
    """Write into a folder that this run holds."""
    out = output.root
    map_file = out / 'label_map.txt'
    classes = sorted({clip.label for clip in clips})
    if map_file.is_file():  # of another part: the same labels in all
        classes = read_lines(map_file)
    elif len(classes) != CLASSES[args.data]:
        print(
            f'NOTE: expected {CLASSES[args.data]} classes, got {len(classes)} in {args.csv}; '
            'the labels number these.'
        )
    label = {name: k for k, name in enumerate(classes)}
    unknown = sorted({clip.label for clip in clips} - set(label))
    if unknown:
        raise ValueError(
            f'expected all classes of {args.csv} in {map_file}, which lacks {", ".join(unknown)}; '
            'fix: remove it and begin with the part that has all classes'
        )

    folder = out / f'videos_{args.part}'
    made = [out / f'videos_{part}' for part in PARTS]
    videos = find_videos(args.videos, [path for path in made if not is_below(args.videos, path)])
    files = find_clips(clips, videos)
    probed = probe_all(
        {name: videos[name] for name in files.values()},
        output.check_file(out / f'checked_{args.part}.jsonl'),
        args.workers,
    )
    good = [name for name in files.values() if probed[name]['state'] != 'broken']
    if args.short_side:
        failed = resize_all(good, args.videos, output, folder, args.short_side, args.workers)
        for name, reason in failed.items():
            probed[name] = dict(state='broken', reason=f'resizing: {reason}')
    elif any(' ' in name for name in good) or (folder.is_dir() and not folder.is_symlink()):
        if not is_below(args.videos, folder) or any(' ' in name for name in good):
            link_each(output, {class_folder(name): videos[name] for name in good}, folder)
    else:
        link_videos(output, args.videos, folder)

    wanted = {clip.name: clip.label for clip in clips}
    by_clip = {clip.name: probed[name] for clip, name in files.items()}
    report = summarize(wanted, by_clip, sorted(set(videos) - set(files.values())))
    rows, facts = [], {}
    for clip in clips:
        found = files.get(clip)
        if found is not None and probed[found]['state'] != 'broken':
            path = written_name(found) if args.short_side else found
            if ' ' in path:
                path = class_folder(path)
            rows.append((path, label[clip.label]))
            facts[path] = dict(probed[found])
            if args.short_side:  # of the copy they are others
                for key in ('width', 'height', 'codec', 'rotation'):
                    facts[path].pop(key, None)
    list_name = f'{args.data}_{args.part}_list_videos.txt'
    write_lists(output, folder.name, {list_name: rows}, facts)
    output.write_text('label_map.txt', text_of(classes))
    write_report(report, output, f'report_{args.part}.json')


def main(argv: list[str] | None = None) -> int:
    return run_command(prepare, argument_parser(), argv)
