"""Folders, lists and reports, shared by the tools that prepare data sets."""

import argparse
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnnlstm_mm.storage import OutputFolder, check_stamp, differing_settings, locked
from cnnlstm_mm.text import text_of

from .indexing import write_list_index

STATES = ('ok', 'short', 'broken', 'missing')


@contextmanager
def prepared_folder(
    out: Path, tool: str, settings: dict[str, Any], inputs: Iterable[Path], stamp: str
) -> Iterator[OutputFolder]:
    """Lock a folder, compare its stamp and remove what a killed run left half written.

    Args:
        out: The folder.
        tool: Name of the holder of the lock.
        settings: What its contents depend on.
        inputs: The user's files and folders, which are not changed.
        stamp: Name of the file that keeps the settings.

    Raises:
        InUseError: If another run writes there.
        ValueError: If it was made with other settings; with each difference.
    """
    output = OutputFolder(out, [path for path in inputs if path.is_dir()])
    output.check_file(out / stamp)
    with locked(out, tool):
        new = not check_stamp(out / stamp, settings)
        output.remove_parts()
        try:
            yield output
        except Exception:
            # A wrong argument, found before anything was made, binds no later run.
            made = {p.name for p in out.iterdir() if not p.name.startswith(('.', 'unpacked_'))}
            if new and made == {stamp}:
                (out / stamp).unlink()
            raise


@contextmanager
def prepared_splits(args: argparse.Namespace, tool: str, **settings: Any) -> Iterator[OutputFolder]:
    """Check --workers and the two inputs, ``videos`` and ``splits``, then :func:`prepared_folder`.

    Args:
        args: With ``out`` as well.
        tool: Its name.
        **settings: What the contents depend on beside the inputs.

    Raises:
        FileNotFoundError: If an input is missing.
        InUseError, ValueError: See :func:`prepared_folder`.
    """
    check_workers(args.workers)
    inputs = (args.videos, args.splits)
    check_there(*inputs)
    videos, splits = map(source_setting, inputs)
    settings = dict(tool=tool, videos=videos, splits=splits, **settings)
    with prepared_folder(args.out, tool, settings, inputs, 'settings.json') as output:
        yield output


def claim_made_data(
    output: OutputFolder,
    settings: dict[str, Any],
    overwrite: bool,
    folders: Iterable[Path],
    lists: str = '',
) -> None:
    """Make the folders of a data set that is drawn, or check that they hold one of these settings.

    Args:
        output: The data set's folder; its ``settings.json`` holds the settings.
        settings: Those of the wanted data set.
        overwrite: Remove the videos of the data set that is there.
        folders: Of the videos, ``videos`` or below it.
        lists: Names of the lists that are removed with the videos, as a pattern.

    Raises:
        FileExistsError: If the folder holds other videos.
    """
    record, videos = output.root / 'settings.json', output.root / 'videos'
    if record.exists():
        changed = differing_settings(json.loads(record.read_text()), settings)
        if overwrite:
            if videos.exists():
                shutil.rmtree(output.check_file(videos))
            for path in output.root.glob(lists) if lists else ():
                output.check_entry(path).unlink()
        elif changed:
            raise FileExistsError(
                f'expected a data set with these settings or none, got {output.root} with '
                f'{", ".join(changed)}; fix: replace it with --overwrite, or name another --out'
            )
    elif videos.exists():
        raise FileExistsError(
            f'expected a folder that this tool made, got {videos}; fix: name another --out'
        )
    for folder in folders:
        output.check_file(folder).mkdir(parents=True, exist_ok=True)
    output.write_text(record.name, json.dumps(settings, indent=2) + '\n')
    output.remove_parts()


def source_setting(source: Path) -> str:
    """How a stamp names an input: a folder by its real path, an archive by name."""
    return str(source.resolve()) if source.is_dir() else source.name


def check_there(*sources: Path) -> None:
    """Raise FileNotFoundError for inputs that are missing, before any work."""
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(
                f'expected an archive or a folder, got {source}: no such file; fix: name the '
                'downloaded archive, or the folder that it was unpacked to'
            )


def check_workers(workers: int) -> None:
    """Raise ValueError unless there is at least one process."""
    if workers < 1:
        raise ValueError(f'expected --workers to be at least 1, got {workers}')


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers."""
    parser.add_argument(
        '--workers',
        type=int,
        default=os.cpu_count() or 1,
        help='decoding processes; default: all cores',
    )


def read_lines(path: Path) -> list[str]:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: If it holds something else; with the cure.
    """
    try:
        return path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path}: expected UTF-8 text, got {error.reason} at byte {error.start}; fix: save it '
            'as UTF-8'
        ) from None


def write_lists(
    output: OutputFolder,
    folder: str,
    lists: dict[str, list[tuple[str, int]]],
    probed: dict[str, dict],
) -> None:
    """Write lists of paths and labels, and their index; see :func:`write_list_index`."""
    for name, rows in lists.items():
        output.write_text(name, text_of(f'{path} {label}' for path, label in rows))
    write_list_index(output, folder, lists, probed)


def write_splits(
    output: OutputFolder,
    data: str,
    classes: list[str],
    splits: dict[tuple[str, int], list[str]],
    probed: dict[str, dict],
) -> None:
    """Write the lists of official splits, without broken or missing clips, and the label map.

    Args:
        output: The folder; it holds ``videos``.
        data: Name of the data set, with which those of its lists begin.
        classes: In the order of their labels.
        splits: Clips (``class/name.avi``) by part ('train' or 'val') and number.
        probed: See :func:`probe_all`.
    """
    label = {name: k for k, name in enumerate(classes)}
    usable = {clip for clip, result in probed.items() if result['state'] != 'broken'}
    lists = {
        f'{data}_{part}_split_{split}_videos.txt': [
            (clip, label[clip.split('/')[0]]) for clip in clips if clip in usable
        ]
        for (part, split), clips in splits.items()
    }
    write_lists(output, 'videos', lists, probed)
    output.write_text('label_map.txt', text_of(classes))


def link_videos(output: OutputFolder, source: Path, out: Path) -> None:
    """Let ``out`` lead to the videos where they are.

    Raises:
        FileExistsError: If ``out`` exists and is not this folder.
    """
    source = source.resolve()
    if out.resolve() == source:
        return
    if out.is_symlink() or out.exists():
        raise FileExistsError(
            f'expected a link to {source} or nothing at {out}, got another file or folder; fix: '
            'remove it, or name another --out'
        )
    output.link(out, source)


def summarize(wanted: dict[str, str], probed: dict[str, dict], extra: list[str]) -> dict:
    """Compare the clips of the official lists with those found.

    Args:
        wanted (dict[str, str]): Class by clip, of the official lists.
        probed (dict[str, dict]): See :func:`probe_all`.
        extra (list[str]): Clips that no list names.

    Returns:
        dict: ``clips`` and ``classes`` wanted, ``by_class`` (number of each
        state), and the names: ``missing``, ``broken``, ``short``, ``extra``.
    """
    report: dict[str, Any] = dict(
        clips=len(wanted),
        classes=len(set(wanted.values())),
        by_class={},
        missing=[],
        broken={},
        short={},
        extra=sorted(extra),
    )
    for clip, name in sorted(wanted.items()):
        result = probed.get(clip, dict(state='missing'))
        counts = report['by_class'].setdefault(name, dict.fromkeys(STATES, 0))
        counts[result['state']] += 1
        note_state(report, clip, result)
    return report


def note_state(report: dict[str, Any], name: str, result: dict[str, Any]) -> None:
    """Add a clip to ``missing``, ``broken`` or ``short`` of a report, by what became of it."""
    if result['state'] == 'missing':
        report['missing'].append(name)
    elif result['state'] == 'broken':
        report['broken'][name] = result['reason']
    elif result['state'] == 'short':
        report['short'][name] = (
            f'{result["frames"]} frames of the {result["promised"]} in its header'
        )


def write_report(report: dict, output: OutputFolder, name: str) -> None:
    """Write the report as JSON and say what is in it.

    Args:
        report (dict): See :func:`summarize`.
        output (OutputFolder): Where to write.
        name (str): The file to write.
    """
    output.write_text(name, json.dumps(report, indent=2) + '\n')
    usable = report['clips'] - len(report['missing']) - len(report['broken'])
    print(
        f'{usable} of {report["clips"]} clips in {report["classes"]} classes '
        f'can be used ({len(report["short"])} of them are a few frames '
        'short, which does no harm).'
    )
    for state in ('missing', 'broken', 'extra'):
        names = report[state]
        if names:
            reasons = names if isinstance(names, dict) else {}
            print(f'{len(names)} {state}:')
            for clip in list(names)[:10]:
                reason = f' ({reasons[clip]})' if clip in reasons else ''
                print(f'  {clip}{reason}')
            if len(names) > 10:
                print('  ...')
    print(f'Report: {output.root / name}')
