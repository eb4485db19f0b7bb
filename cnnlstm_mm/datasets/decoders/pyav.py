"""PyAV: FFmpeg's libraries, seeking by the time stamps of the packets."""

import os
from bisect import bisect_right
from typing import Any

import numpy as np

from .base import Decoder, UnreadableError, leave_to_parent, plausible, stack

SEEKING = ('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm')


class PyAVDecoder(Decoder):
    """Seeks to the key frame before each frame, and knows it by its time stamp.

    In other containers than ``SEEKING`` files are read from their first frame on: in .avi the
    time stamps depend on where reading began.
    """

    name = 'pyav'

    def __init__(self, filename: str, num_threads: int = 1) -> None:
        self.filename, self.num_threads = filename, num_threads
        self._graphs: dict[tuple, Any] = {}
        with self._open() as container:
            seeks = container.format.name in SEEKING
            stream = self._stream(container)
            self.fps = plausible(stream.average_rate or 0)
            packets = [packet for packet in container.demux(stream) if packet.size]
        self.packets = len(packets)
        shown = [packet for packet in packets if not packet.is_discard]
        times = [packet.pts for packet in shown]
        self._times: list[int] = []
        if seeks and None not in times and len(set(times)) == len(times):
            self._times = sorted(times)
            self._keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
        self.frames = len(shown)
        if not self._times or self.frames < self.packets:
            # Frames of several packets, and what a decoder makes of hidden ones, show in decoding.
            self._times = []
            self.frames = sum(1 for _ in self._decoded())
        if not self.frames:
            raise UnreadableError('PyAV decodes no frame')

    def get(self, indices: np.ndarray) -> np.ndarray:
        """See :meth:`Decoder.get`."""
        if self._times:
            read = self._by_time([self._times[index] for index in indices])
            if read is not None:
                return np.stack(read)
        chosen, read_by_index, count = set(indices.tolist()), {}, 0
        for count, frame in enumerate(self._decoded(), start=1):
            if count - 1 in chosen:
                read_by_index[count - 1] = self._upright(frame)
            if count > indices[-1]:
                break
        if count <= indices[-1]:
            self.frames = min(self.frames, count)
        return stack(read_by_index, indices)

    def _by_time(self, wanted: list[int]) -> list[np.ndarray] | None:
        """Frames by time stamp; None if one of them did not come out of the decoder."""
        found: list[np.ndarray] = []
        with self._open() as container:
            stream = self._stream(container)
            frames, reached = None, None
            for time in wanted:
                place = bisect_right(self._keys, time)
                key = self._keys[place - 1] if place else None
                if frames is None or (key is not None and reached is not None and key > reached):
                    if key is not None:
                        container.seek(key, stream=stream)
                    frames = container.decode(stream)
                for frame in frames:
                    reached = frame.pts
                    if reached is None or reached >= time:
                        break
                if reached != time:
                    return None
                found.append(self._upright(frame))
        return found

    def _open(self) -> Any:
        import av

        # Titles that are not UTF-8 are errors up to 18; 19 knows no such option.
        options: dict[str, Any] = dict(metadata_errors='replace')
        if int(av.__version__.partition('.')[0]) >= 19:
            options = {}
        return av.open(self.filename, **options)

    def _stream(self, container: Any) -> Any:
        stream = container.streams.best('video')
        if stream is None:
            raise UnreadableError('it has no video stream')
        stream.thread_type = 'AUTO' if self.num_threads != 1 else 'SLICE'
        stream.codec_context.thread_count = self.num_threads
        return stream

    def _decoded(self) -> Any:
        import av

        with self._open() as container:
            try:
                yield from container.decode(self._stream(container))
            except av.error.FFmpegError:
                return  # the rest is damaged

    def _upright(self, frame: Any) -> np.ndarray:
        """RGB picture, turned and mirrored as the display matrix says (ISO 14496-12)."""
        picture = self._rgb(frame)
        matrix = frame.side_data.get('DISPLAYMATRIX')
        if matrix is None:
            return picture
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
        if abs(a) < abs(b):
            picture, a, d = picture.transpose(1, 0, 2), c, b
        return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])

    def _rgb(self, frame: Any) -> np.ndarray:
        """Convert as the ffmpeg program does, interlaced and 10-bit pictures too."""
        import av

        key = (os.getpid(), frame.width, frame.height, frame.format.name)
        if key not in self._graphs:
            graph = self._graphs[key] = av.filter.Graph()
            leave_to_parent(graph)
            size = dict(width=frame.width, height=frame.height, format=frame.format)
            graph.link_nodes(
                graph.add_buffer(**size, time_base=frame.time_base),
                graph.add('format', 'rgb24'),
                graph.add('buffersink'),
            ).configure()
        self._graphs[key].push(frame)
        return self._graphs[key].pull().to_ndarray()
