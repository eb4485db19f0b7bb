"""Video files: whole ones of every kind, and what is left of them."""

import hashlib
import subprocess
from pathlib import Path

from hypothesis import strategies as st

from .judge import Fault

# Name: ffmpeg's options after a source of that size, rate and length.
SOURCES = {
    'mjpeg.avi': ('48x36', 20, 10, '-c:v mjpeg'),
    'mpeg4.avi': ('48x36', 20, 10, '-c:v mpeg4'),
    'h264.mp4': ('48x36', 20, 10, '-c:v libx264 -pix_fmt yuv420p -bf 2'),
    'h264.mkv': ('48x36', 20, 10, '-c:v libx264 -pix_fmt yuv420p'),
    'vp9.webm': ('48x36', 12, 10, '-c:v libvpx-vp9 -deadline realtime'),
    'pixel.avi': ('32x32', 5, 10, '-vf format=rgb24,crop=1:1 -c:v ffv1'),
    'pixel.mkv': ('32x32', 5, 10, '-vf format=rgb24,crop=1:1 -c:v png'),
    'one_frame.mp4': ('48x36', 1, 10, '-c:v libx264 -pix_fmt yuv420p'),
    'one_frame.avi': ('48x36', 1, 10, '-c:v mjpeg'),
    'long.mp4': ('16x16', 10_000, 100, '-c:v mpeg4'),
    'odd.mkv': ('47x33', 9, 10, '-c:v libx264 -pix_fmt yuv444p'),
    'odd.avi': ('5x97', 9, 10, '-c:v mjpeg'),
    'variable.mkv': (
        '48x36',
        20,
        10,
        "-vf select='not(mod(n\\,3))+lt(n\\,5)' -fps_mode vfr -c:v libx264 -pix_fmt yuv420p",
    ),
    'rotated.mp4': ('48x36', 12, 10, '-c:v libx264 -pix_fmt yuv420p'),
    'alpha.mov': ('48x36', 8, 10, '-c:v png -pix_fmt rgba'),
    'alpha.webm': ('48x36', 8, 10, '-c:v libvpx-vp9 -pix_fmt yuva420p -deadline realtime'),
    'grey.avi': ('48x36', 9, 10, '-c:v ffv1 -pix_fmt gray'),
    'grey.mp4': ('48x36', 9, 10, '-c:v libx264 -pix_fmt gray'),
    'sound.mp4': None,
}
SUFFIXES = ('.avi', '.mp4', '.mkv', '.webm', '.mov', '.flv', '.txt', '')
READERS = ('dataset', 'opencv', 'stream', 'prepare')


def make(name, path):
    """Encode a source."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), '-y', '-loglevel', 'error']
    if SOURCES[name] is None:  # a file without pictures
        command += ['-f', 'lavfi', '-i', 'sine=duration=1', '-c:a', 'aac']
    else:
        size, frames, rate, options = SOURCES[name]
        command += [
            '-f',
            'lavfi',
            '-i',
            f'testsrc2=size={size}:rate={rate}',
            '-frames:v',
            str(frames),
            *options.split(),
        ]
    whole = path.with_name(f'new_{path.name}')
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    if name == 'rotated.mp4':
        turned = path.with_name(f'turned_{path.name}')
        subprocess.run(
            [
                get_ffmpeg_exe(),
                '-y',
                '-loglevel',
                'error',
                '-display_rotation',
                '90',
                '-i',
                str(whole),
                '-c',
                'copy',
                str(turned),
            ],
            check=True,
            capture_output=True,
        )
        turned.replace(whole)
    whole.replace(path)


def source(name, place):
    """The bytes of a source, encoded once."""
    path = Path(place) / name
    if not path.is_file():
        make(name, path)
    return path.read_bytes()


def cases():
    """What is done to which source, under which name, and who reads it."""
    share = st.floats(0, 1)
    change = st.one_of(
        st.just(('whole',)),
        st.tuples(st.just('cut'), share),
        st.tuples(
            st.just('flip'), st.lists(st.tuples(share, st.integers(0, 7)), min_size=1, max_size=12)
        ),
        st.tuples(st.just('zero'), share, share),
        st.tuples(st.just('lose'), share, share),
        st.tuples(st.just('double'), share, share),
        st.tuples(st.just('append'), st.binary(max_size=64)),
        st.tuples(st.just('begin'), share),
        st.tuples(st.just('bytes'), st.binary(max_size=256)),
        st.tuples(
            st.just('head'),
            st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
        ),
    )
    return st.tuples(
        st.sampled_from(sorted(SOURCES)),
        st.lists(change, min_size=1, max_size=2),
        st.one_of(st.none(), st.none(), st.sampled_from(SUFFIXES)),
        st.sampled_from(READERS),
    )


def changed(data, change):
    """The bytes after a change."""
    kind, size = change[0], len(data)
    if kind == 'cut':
        return data[: int(size * change[1])]
    if kind == 'begin':
        return data[int(size * change[1]) :]
    if kind == 'append':
        return data + change[1]
    if kind == 'bytes':
        return change[1]
    if kind == 'flip' and size:
        data = bytearray(data)
        for where, bit in change[1]:
            data[int(where * (size - 1))] ^= 1 << bit
    if kind == 'head':
        data = bytearray(data)
        for where, value in change[1]:
            if where < size:
                data[where] = value
    if kind in ('zero', 'lose', 'double'):
        first, last = (int(size * part) for part in sorted(change[1:]))
        part = dict(zero=bytes(last - first), lose=b'', double=data[first:last] * 2)[kind]
        data = data[:first] + part + data[last:]
    return bytes(data)


def check(case, place):
    """Feed a file to one of those that read videos."""
    name, changes, suffix, reader = case
    data = source(name, place)
    for change in changes:
        data = changed(data, change)
    folder = Path(place) / 'broken'
    folder.mkdir(exist_ok=True)
    digest = hashlib.md5(data).hexdigest()[:8]
    path = folder / (f'{digest}{Path(name).suffix}' if suffix is None else f'{digest}{suffix}')
    path.write_bytes(data)
    words = [path.name] if reader != 'prepare' else []
    return words, lambda: globals()[f'by_{reader}'](path)


def dataset(path, decoder):
    """A data set of that file alone, with a usual pipeline."""
    from cnnlstm_mm.datasets import CheckedVideoDataset

    ann_file = path.with_name('list.txt')
    ann_file.write_text(f'{path.name} 0\n')
    return CheckedVideoDataset(
        str(ann_file),
        [
            dict(type=f'{decoder}Init'),
            dict(
                type='SampleFrames',
                clip_len=4,
                frame_interval=2,
                num_clips=1,
                out_of_bound_opt='repeat_last',
                test_mode=True,
            ),
            dict(type=f'{decoder}Decode'),
            dict(type='Resize', scale=(24, 24), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
        decode_timeout=15,
        data_prefix=dict(video=str(path.parent)),
    )


def by_dataset(path, decoder='Decord'):
    """Training's way."""
    try:
        sample = dataset(path, decoder).read(0)
    finally:
        path.unlink(missing_ok=True)
    if sample['inputs'].shape != (1, 3, 4, 24, 24):
        raise Fault(f'{path}: {sample["inputs"].shape}')


def by_opencv(path):
    """The way where decord is missing."""
    by_dataset(path, 'OpenCV')


def by_stream(path):
    """The live demo's way."""
    from cnnlstm_mm.streaming import VideoSource

    try:
        with VideoSource(str(path)) as frames:
            if not 0 < frames.fps < 1e6 or not 0 <= frames.frames < 1e9:
                raise Fault(f'{path}: {frames.fps} {frames.frames}')
            for k, frame in enumerate(frames):
                if frame.image.ndim != 3 or frame.image.shape[2] != 3:
                    raise Fault(f'{path}: {frame.image.shape}')
                if not 0 <= frame.time < 1e9:
                    raise Fault(f'{path}: time {frame.time}')
                if k == 50:
                    break
    finally:
        path.unlink(missing_ok=True)


def by_prepare(path):
    """The way of the tools that prepare data."""
    from cnnlstm_mm.commands.prepare.probing import probe

    try:
        found = probe(str(path))
    finally:
        path.unlink(missing_ok=True)
    if found['state'] == 'broken' and not found['reason']:
        raise Fault(f'{path}: {found}')
