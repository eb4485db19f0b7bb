"""Archives, decoding checks and reports, shared by the tools that prepare data sets."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from indexing import second_look, video_facts
from rich.progress import track

VIDEO_SUFFIXES = ('.avi', '.mp4', '.mkv', '.webm', '.mov', '.m4v', '.flv')
STATES = ('ok', 'short', 'broken', 'missing')


def find_videos(root: Path) -> dict[str, Path]:
    """Find all video files below a folder.

    Returns:
        dict[str, Path]: File by its path below ``root``, with slashes.
    """
    found = {}
    for folder, _, names in os.walk(root, followlinks=True):
        for name in sorted(names):
            if name.lower().endswith(VIDEO_SUFFIXES):
                path = Path(folder, name)
                found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


def probe(path: str) -> dict[str, Any]:
    """Decode a whole video.

    Returns:
        dict: ``state``: 'ok', 'short' (fewer frames than the header says) or
        'broken' (none, or under nine tenths of them), ``frames`` that could
        be decoded, ``promised`` in the header, and ``reason`` where broken.
    """
    import cv2

    cv2.setNumThreads(1)
    if not os.path.getsize(path):
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


def probe_all(videos: dict[str, Path], log: Path, workers: int) -> dict[str, dict[str, Any]]:
    """Decode videos in parallel, skipping those decoded before.

    Results are logged as they arrive, so that a killed run resumes where it
    stopped. A file that crashes the decoder counts as broken.

    Args:
        videos (dict[str, Path]): File by name.
        log (Path): JSON, one line per video.
        workers (int): Number of processes.

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
    with log.open('a') as file:
        for name, result in track(
            _probe_each(videos, todo, workers), 'Checking videos', total=len(todo)
        ):
            done[name] = dict(result, stamp=stamps[name])
            file.write(json.dumps(dict(done[name], name=name)) + '\n')
            file.flush()
    return {name: done[name] for name in videos}


def _read_log(log: Path) -> dict[str, dict]:
    known = {}
    if log.is_file():
        for line in log.read_text().splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that a kill cut short
                continue
            known[entry.pop('name')] = entry
    if known:  # end a line that was cut short
        write_lines(log, (json.dumps(dict(entry, name=name)) for name, entry in known.items()))
    return known


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _probe_each(
    videos: dict[str, Path], todo: list[str], workers: int
) -> Iterable[tuple[str, dict]]:
    # The decoders' own messages do not name the file.
    os.environ.setdefault('OPENCV_LOG_LEVEL', 'SILENT')
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    context = multiprocessing.get_context('spawn')
    left = list(todo)
    while left:
        finished = set()
        try:
            with ProcessPoolExecutor(workers, context) as pool:
                jobs = {pool.submit(probe, str(videos[name])): name for name in left}
                for job in as_completed(jobs):
                    result = job.result()
                    finished.add(jobs[job])
                    yield jobs[job], result
        except BrokenProcessPool:
            # One of the running videos crashed its process: decode each of them
            # in a separate one.
            for name in [name for name in left if name not in finished][: 2 * workers + 1]:
                finished.add(name)
                yield name, _probe_alone(videos[name])
        left = [name for name in left if name not in finished]


def _probe_alone(path: Path) -> dict:
    done = subprocess.run([sys.executable, __file__, str(path)], capture_output=True, text=True)
    if done.returncode:
        return dict(
            state='broken', frames=0, promised=0, reason=f'the decoder crashed ({done.returncode})'
        )
    return json.loads(done.stdout.splitlines()[-1])


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    # Imported late: workers import this module, and importing the package takes seconds.
    from cnnlstm_mm.storage import write_text

    write_text(path, text)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, one item per line."""
    write_text(path, ''.join(f'{line}\n' for line in lines))


def link_videos(source: Path, out: Path) -> None:
    """Make ``out`` a link to the folder of the videos.

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
    out.parent.mkdir(parents=True, exist_ok=True)
    out.symlink_to(source, target_is_directory=True)


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


def write_report(report: dict, path: Path) -> None:
    """Write the report of :func:`summarize` as JSON and print a summary."""
    write_text(path, json.dumps(report, indent=2) + '\n')
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
            for name in list(names)[:10]:
                reason = f' ({reasons[name]})' if name in reasons else ''
                print(f'  {name}{reason}')
            if len(names) > 10:
                print('  ...')
    print(f'Report: {path}')


if __name__ == '__main__':
    print(json.dumps(probe(sys.argv[1])))
