"""Archives, decoding checks and reports, shared by the tools that prepare data sets."""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import track

from cnnlstm_mm.storage import OutputFolder, check_stamp, locked, write_text

from .indexing import probe_frames, second_look, video_facts, write_list_index

STATES = ('ok', 'short', 'broken', 'missing')
SECONDS = 300  # that a video may take to decode


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


def probe(path: str) -> dict[str, Any]:
    """Decode a whole video, or a folder of frames.

    Returns:
        dict: ``state``: 'ok', 'short' (fewer frames than the header says) or
        'broken' (none, or under nine tenths of them), ``frames`` that could
        be decoded, ``promised`` in the header, and ``reason`` where broken.
    """
    import cv2

    cv2.setNumThreads(1)
    if os.path.isdir(path):
        return probe_frames(path)
    try:
        with open(path, 'rb') as file:
            empty = not file.read(1)
    except OSError as error:
        reason = error.strerror or str(error)
        if os.path.islink(path) and not os.path.exists(path):
            reason = f'a link to {os.path.realpath(path)}, which is not there'
        return dict(state='broken', frames=0, promised=0, reason=reason)
    if empty:
        return dict(state='broken', frames=0, promised=0, reason='0 bytes')
    capture = cv2.VideoCapture(path)
    promised = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    facts = video_facts(capture)
    frames = 0
    while capture.grab():
        frames += 1
    capture.release()
    if frames < max(0.9 * promised, 1):
        frames, promised = second_look(path, frames, promised)
    result = dict(state='ok', frames=frames, promised=promised, **facts)
    if not frames:
        result.update(state='broken', reason='no frame can be decoded')
    elif frames < 0.9 * promised:
        result.update(
            state='broken', reason=f'ends early: {frames} frames of the {promised} in its header'
        )
    elif frames < promised:
        result['state'] = 'short'
    return result


def probe_all(
    videos: dict[str, Path], log: Path, workers: int, seconds: float = SECONDS
) -> dict[str, dict[str, Any]]:
    """Decode videos in parallel, and only those not decoded before.

    Results go into a log as they come, so that a killed run goes on where it
    was. A file that ends its process, or takes too long, counts as broken.

    Args:
        videos (dict[str, Path]): File by name.
        log (Path): JSON, one line a video.
        workers (int): Processes.
        seconds (float): That a video may take.

    Returns:
        dict[str, dict]: See :func:`probe`, by name.
    """
    known = _read_log(log)
    stamps = {name: _stamp(path) for name, path in videos.items()}
    done = {
        name: known[name] for name in videos if known.get(name, {}).get('stamp') == stamps[name]
    }
    todo = [name for name in videos if name not in done]
    if done:
        print(f'{len(done)} of {len(videos)} videos were checked before.')
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('a', encoding='utf-8') as file:
        for name, result in track(
            _probe_each(videos, todo, workers, seconds), 'Checking videos', total=len(todo)
        ):
            done[name] = dict(result, stamp=stamps[name])
            file.write(json.dumps(dict(done[name], name=name)) + '\n')
            file.flush()
    # In the order of the videos, whatever came first: the same bytes after any restart.
    lines = text_of(json.dumps(dict(done[name], name=name)) for name in videos)
    if log.read_text(encoding='utf-8') != lines:
        write_text(log, lines)
    return {name: done[name] for name in videos}


def _read_log(log: Path) -> dict[str, dict]:
    known, cut = {}, False
    if log.is_file():
        text = log.read_text(encoding='utf-8', errors='replace')
        cut = not text.endswith('\n')
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                known[entry.pop('name')] = entry
            except (ValueError, KeyError, TypeError, AttributeError):  # a kill cut it short
                cut = True
    if cut:
        write_text(log, text_of(json.dumps(dict(e, name=name)) for name, e in known.items()))
    return known


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError:  # a link to nothing
        return [-1, -1]
    return [stat.st_size, stat.st_mtime_ns]


def _probe_each(
    videos: dict[str, Path], todo: list[str], workers: int, seconds: float
) -> Iterable[tuple[str, dict]]:
    # The decoders' own messages do not name the file.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    context = multiprocessing.get_context('spawn')
    left = list(todo)
    while left:
        finished: set[str] = set()
        waiting = list(reversed(left))
        jobs: dict[Any, str] = {}
        pool = ProcessPoolExecutor(min(workers, len(left)), context)
        hanging = False
        try:
            while (waiting or jobs) and not hanging:
                while waiting and len(jobs) < 2 * workers:
                    name = waiting.pop()
                    jobs[pool.submit(probe, str(videos[name]))] = name
                ended, _ = wait(jobs, seconds, FIRST_COMPLETED)
                hanging = not ended
                for job in ended:
                    result = job.result()
                    name = jobs.pop(job)
                    finished.add(name)
                    yield name, result
        except BrokenProcessPool:
            hanging = True
        finally:
            _stop(pool, hanging)
        if hanging:
            # One of those that were begun ended its process, or holds it: each of them gets its
            # own.
            for name in list(jobs.values()) or left[:1]:
                finished.add(name)
                yield name, _probe_alone(videos[name], seconds)
        left = [name for name in left if name not in finished]


def _stop(pool: ProcessPoolExecutor, hanging: bool) -> None:
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=not hanging, cancel_futures=True)
    for process in processes if hanging else ():
        process.kill()


def _probe_alone(path: Path, seconds: float) -> dict:
    places = [os.environ.get('PYTHONPATH'), *sys.path]
    try:
        done = subprocess.run(
            [sys.executable, '-m', __spec__.name, str(path)],
            capture_output=True,
            text=True,
            timeout=seconds,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, places))},
        )
    except subprocess.TimeoutExpired:
        reason = f'the decoder did not end within {seconds:g} s'
        return dict(state='broken', frames=0, promised=0, reason=reason)
    if done.returncode:
        return dict(
            state='broken', frames=0, promised=0, reason=f'the decoder crashed ({done.returncode})'
        )
    return json.loads(done.stdout.splitlines()[-1])


def text_of(lines: Iterable[str]) -> str:
    """Join lines, each with its end."""
    return ''.join(f'{line}\n' for line in lines)


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
        if result['state'] == 'missing':
            report['missing'].append(clip)
        elif result['state'] == 'broken':
            report['broken'][clip] = result['reason']
        elif result['state'] == 'short':
            report['short'][clip] = (
                f'{result["frames"]} frames of the {result["promised"]} in its header'
            )
    return report


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


if __name__ == '__main__':
    print(json.dumps(probe(sys.argv[1])))
