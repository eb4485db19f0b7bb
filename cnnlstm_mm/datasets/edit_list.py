"""Edit list of MP4 and QuickTime files: the part of the video track that players show."""

import math
import struct


def shown_until(filename: str) -> float:
    """End in seconds of the video track's edit list (ISO 14496-12, 8.6.6).

    Returns:
        Infinity for files without one, and for other or damaged files.
    """
    try:
        movie = _boxes(_movie(filename))
        header = movie[b'mvhd'][0]
        (scale,) = struct.unpack_from('>I', header, 20 if header[0] else 12)
        for track in map(_boxes, movie[b'trak']):
            handler = _boxes(track[b'mdia'][0])[b'hdlr'][0]
            if handler[8:12] == b'vide' and b'edts' in track:
                edits = _boxes(track[b'edts'][0])[b'elst'][0]
                (count,) = struct.unpack_from('>I', edits, 4)
                form, step = ('>Q', 20) if edits[0] else ('>I', 12)
                places = range(8, 8 + step * count, step)
                ticks = sum(struct.unpack_from(form, edits, place)[0] for place in places)
                return ticks / scale if ticks else math.inf
    except (struct.error, KeyError, IndexError, OverflowError, ZeroDivisionError):
        pass
    return math.inf


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


def _boxes(data: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from('>I4s', data, place)
        found.setdefault(kind, []).append(data[place + 8 : place + size])
        place += max(size, 8)
    return found
