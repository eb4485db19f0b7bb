"""MP4 files whose boxes were changed: sizes, kinds, tables, order."""

import hashlib
import struct
from pathlib import Path

from hypothesis import strategies as st

from .judge import Fault

SOURCES = ('h264.mp4', 'cut.mp4', 'rotated_90_wide.mp4', 'fragmented.mp4', 'vfr.mp4', 'mpeg4.mp4')
BOXES = (
    'moov mvhd trak tkhd edts elst mdia mdhd hdlr minf stbl stsd stts ctts stss stsz stsc stco mdat'
).split()
NUMBERS = (0, 1, 7, 8, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def cases():
    """A source, and what is done to which of its boxes."""
    box, place = st.sampled_from(BOXES), st.integers(0, 40)
    number = st.one_of(st.sampled_from(NUMBERS), st.integers(0, 2**32 - 1))
    change = st.one_of(
        st.tuples(st.just('size'), box, number),
        st.tuples(st.just('number'), box, place, number),
        st.tuples(st.just('kind'), box, st.sampled_from(BOXES)),
        st.tuples(st.just('drop'), box),
        st.tuples(st.just('double'), box),
    )
    return st.tuples(st.sampled_from(SOURCES), st.lists(change, min_size=1, max_size=3))


def changed(data, change):
    """The bytes after a change to the first box of that kind."""
    data = bytearray(data)
    place = data.find(change[1].encode()) - 4
    if place < 0:
        return bytes(data)
    (size,) = struct.unpack_from('>I', data, place)
    size = max(min(size, len(data) - place), 8)
    if change[0] == 'size':
        struct.pack_into('>I', data, place, change[2])
    elif change[0] == 'number' and 8 + 4 * change[2] + 4 <= size:
        struct.pack_into('>I', data, place + 8 + 4 * change[2], change[3])
    elif change[0] == 'kind':
        data[place + 4 : place + 8] = change[2].encode()
    elif change[0] == 'drop':
        del data[place : place + size]
    elif change[0] == 'double':
        data[place:place] = data[place : place + size]
    return bytes(data)


def check(case, place):
    """Read it as a training does."""
    from helpers.video_files import make_video

    name, changes = case
    folder = Path(place) / 'containers'
    folder.mkdir(exist_ok=True)
    data = make_video(name, Path(place)).read_bytes()
    for change in changes:
        data = changed(data, change)
    path = folder / f'{hashlib.md5(data).hexdigest()[:8]}.mp4'
    path.write_bytes(data)
    return [], lambda: read(path)


def read(path):
    """First, middle and last frame, each of one size."""
    from cnnlstm_mm.datasets.video_reader import VideoReader

    try:
        reader = VideoReader(str(path))
        count = len(reader)
        if not 0 < reader.get_avg_fps() < 1e4 or not 0 < count < 1e8:
            raise Fault(f'{path}: {count} frames, {reader.get_avg_fps()} a second')
        frames = reader.get_batch([0, count // 2, count - 1])
        if frames.ndim != 4 or frames.shape[0] != 3 or frames.shape[-1] != 3:
            raise Fault(f'{path}: {frames.shape}')
    finally:
        path.unlink(missing_ok=True)
