"""Decode whole videos, in processes that may crash or hang."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from rich.progress import track

from cnnlstm_mm.storage import write_text
from cnnlstm_mm.text import text_of

from .indexing import probe_frames, second_look, video_facts

SECONDS = 300  # that a video may take to decode


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
        results = _probe_each(videos, todo, workers, seconds)
        for name, result in track(results, 'Checking videos', total=len(todo), disable=not todo):
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
        stats = [path.stat()]
        if path.is_dir():  # whose own time stays where a picture is written anew
            stats += [entry.stat() for entry in os.scandir(path)]
    except OSError:  # a link to nothing
        return [-1, -1]
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]


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


if __name__ == '__main__':
    print(json.dumps(probe(sys.argv[1])))
