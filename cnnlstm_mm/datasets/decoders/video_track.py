"""Tables of MP4 and QuickTime files that decoders pass over (ISO 14496-12)."""

import math
import struct
from typing import NamedTuple

import numpy as np

Boxes = dict[bytes, list[bytes]]


class VideoTrack(NamedTuple):
    """What the header of a file says about its video track.

    Attributes:
        end: End in seconds of the edit list, the part that players show; infinity without one.
        hides: The edit list leaves frames out, or repeats some.
        mirrored: The picture is shown mirrored.
        closed: No frame is shown before the key frame that stands before it in the file, so
            that every frame can be decoded from the key frame before it. False if unknown, as in
            fragmented files.
    """

    end: float = math.inf
    hides: bool = False
    mirrored: bool = False
    closed: bool = False


def video_track(filename: str) -> VideoTrack:
    """Read the header of an MP4 or QuickTime file; others, and damaged ones, give the defaults."""
    try:
        movie = _boxes(_movie(filename))
        scale = _scale(movie[b'mvhd'][0])
        for track in map(_boxes, movie[b'trak']):
            media = _boxes(track[b'mdia'][0])
            if media[b'hdlr'][0][8:12] == b'vide':
                return _track(track, media, scale)
    except (struct.error, KeyError, IndexError, OverflowError, ValueError, ZeroDivisionError):
        pass
    return VideoTrack()


def _track(track: Boxes, media: Boxes, scale: int) -> VideoTrack:
    header = track[b'tkhd'][0]
    a, b, _, c, d = struct.unpack_from('>5i', header, 52 if header[0] else 40)
    edits = _edits(track)
    length = sum(duration for duration, _ in edits)
    end = length / scale if length else math.inf
    pieces = [(duration / scale, start) for duration, start in edits if start >= 0]
    mirrored = a * d < b * c
    try:
        times, keys = _samples(_boxes(_boxes(media[b'minf'][0])[b'stbl'][0]))
    except KeyError:
        times, keys = np.empty(0), np.empty(0, int)
    if not len(times):
        return VideoTrack(end, bool(pieces), mirrored)
    shown = len(times)
    if len(pieces) == 1:
        units = _scale(media[b'mdhd'][0])
        duration, start = pieces[0]
        stop = start + (duration + 1e-3) * units if duration else math.inf
        shown = int(((times >= start) & (times < stop)).sum())
    # Smallest time among the frames from each on, in the order of the file.
    later = np.minimum.accumulate(times[::-1])[::-1]
    closed = bool((later[keys] >= times[keys]).all())
    return VideoTrack(end, len(pieces) > 1 or shown < len(times), mirrored, closed)


def _edits(track: Boxes) -> list[tuple[int, int]]:
    """Duration, in units of the movie, and start, in units of the track, of each edit."""
    if b'edts' not in track:
        return []
    table = _boxes(track[b'edts'][0])[b'elst'][0]
    (count,) = struct.unpack_from('>I', table, 4)
    form, step = ('>Qq', 20) if table[0] else ('>Ii', 12)
    return [struct.unpack_from(form, table, place) for place in range(8, 8 + step * count, step)]


def _samples(tables: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Time of each frame in the order of the file, in units of the track, and the key frames."""
    steps = _runs(tables[b'stts'][0], '>u4')
    times = np.cumsum(steps) - steps
    if b'ctts' in tables:
        times = times + _runs(tables[b'ctts'][0], '>i4')[: len(times)]
    keys = np.arange(len(times))
    if b'stss' in tables:
        keys = np.frombuffer(tables[b'stss'][0][8:], '>u4').astype(int) - 1
    return times, keys


def _runs(table: bytes, kind: str) -> np.ndarray:
    """Values of a run-length coded table."""
    pairs = np.frombuffer(table[8 : 8 + (len(table) - 8) // 8 * 8], '>u4').reshape(-1, 2)
    if pairs[:, 0].sum() > 10**8:
        raise ValueError('expected at most 100,000,000 frames')
    return np.repeat(pairs[:, 1].copy().view(kind).astype(np.int64), pairs[:, 0])


def _scale(header: bytes) -> int:
    """Units a second of a 'mvhd' or 'mdhd' box."""
    return struct.unpack_from('>I', header, 20 if header[0] else 12)[0]


def _movie(filename: str) -> bytes:
    with open(filename, 'rb') as file:
        while True:
            size, kind = struct.unpack('>I4s', file.read(8))
            left = size - 8
            if size == 1:  # it follows in 64 bits
                left = struct.unpack('>Q', file.read(8))[0] - 16
            if kind == b'moov' or left < 0:
                return file.read(max(left, 0))
            file.seek(left, 1)


def _boxes(data: bytes) -> Boxes:
    found: Boxes = {}
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from('>I4s', data, place)
        found.setdefault(kind, []).append(data[place + 8 : place + size])
        place += max(size, 8)
    return found
