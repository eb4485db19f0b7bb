"""Random access to the frames of a video file, exact in any order of reading."""

import os.path as osp
import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from cnnlstm_mm.video_files import check_name

from .decoder_guard import warn_once
from .decoders import Decoder, InexactError, decoder_classes
from .decoders.decord import codec_of
from .decoders.opencv import capture_of, promised_frames

AGREE = 16  # mean difference in levels below which two decoders show one picture (dithering)


class Frames(np.ndarray):
    """Frames, uint8 RGB [T, H, W, 3], with the method that users of decord call."""

    def asnumpy(self) -> np.ndarray:
        """A plain array of the frames."""
        return self.view(np.ndarray)


class VideoReader:
    """decord's reader, with the next decoder wherever decord is not exact.

    The frames are those that a player shows, upright. What one decoder cannot open, decode or
    seek in goes to the next of :func:`decoder_classes`; errors are logged once for each decoder,
    container and codec. Where a decoder gives equal pictures, as some do instead of an error,
    the next one is asked, too.

    A few frames fewer than promised are usual (UCF101 has such clips); the last one then stands
    for them.

    Args:
        filename: A local file.
        num_threads: Of the decoder; 0 for as many as it likes.
        min_share: Least share of the promised frames that the file must hold.
        decoder: See :func:`decoder_classes`.

    Raises:
        ValueError: If the name is not UTF-8, or the file has no frames, or fewer than ``min_share``
            of those promised; on reading, too.
    """

    def __init__(
        self,
        filename: str,
        num_threads: int = 1,
        min_share: float = 0.9,
        decoder: str | None = None,
    ) -> None:
        check_name(filename)
        # Absolute: FFmpeg takes what stands before a colon for a protocol.
        filename = osp.abspath(filename)
        if not osp.getsize(filename):
            raise ValueError('the file has 0 bytes')
        self.filename, self.num_threads, self.min_share = filename, num_threads, min_share
        self._left = decoder_classes(decoder)
        self._open: list[Decoder] = []
        self._reasons: list[tuple[str, Exception]] = []
        first = next(self._decoders(), None)
        if first is None:
            raise self._unreadable()
        promised = promised_frames(filename, capture_of(filename))
        if first.packets < min_share * promised:
            raise ValueError(
                f'the file ends early: {first.packets} frames of the {promised} promised'
            )
        self.frames, self._fps = first.frames, first.fps

    def __len__(self) -> int:
        return self.frames

    def get_avg_fps(self) -> float:
        """Frames a second, on average."""
        return self._fps

    def get_batch(self, indices: Sequence[int]) -> Frames:
        """Read frames by index, in any order.

        Raises:
            IndexError: If an index is out of range.
            ValueError: If the file ends before ``min_share`` of its frames, or before the
                second of the frames asked for.
        """
        wanted, order = np.unique(np.asarray(indices, int), return_inverse=True)
        if not 0 <= wanted[0] <= wanted[-1] < self.frames:
            raise IndexError(
                f'expected indices of {self.frames} frames, got {wanted[0]} to {wanted[-1]}'
            )
        return self._read(wanted)[order.ravel()].view(Frames)

    def seek(self, index: int) -> None:
        """Set the frame of :meth:`next`."""
        self._next = index

    def next(self) -> Frames:
        """The frame of :meth:`seek`, [H, W, 3]."""
        return self.get_batch([self._next])[0]

    def _read(self, wanted: np.ndarray) -> np.ndarray:
        before: np.ndarray | None = None
        for decoder in self._decoders():
            try:
                frames = decoder.get(wanted)
            except Exception as error:
                self._drop(decoder, error)
                continue
            self._log(decoder)
            if len(frames) < len(wanted):
                return self._read_short(decoder, wanted)
            agree = before is not None and _agree(before, frames)
            if not decoder.doubtful or agree:
                return frames
            before = frames
        if before is None:
            raise self._unreadable()
        return before

    def _read_short(self, decoder: Decoder, wanted: np.ndarray) -> np.ndarray:
        """Read from a file that ends before the last of the frames asked for."""
        count = decoder.frames
        if count < max(self.min_share * self.frames, 1):
            raise ValueError(f'the file ends early: {count} frames of the {self.frames} promised')
        if len(wanted) > 1 and wanted[0] >= count - 1:
            raise ValueError(f'frames {wanted[0]} to {wanted[-1]} lie beyond its last, {count - 1}')
        kept, places = np.unique(np.minimum(wanted, count - 1), return_inverse=True)
        return decoder.get(kept)[places]

    def _decoders(self) -> Iterator[Decoder]:
        """The decoders that can open the file; each is opened when it is needed."""
        place = 0
        while place < len(self._open) or self._left:
            if place == len(self._open):
                kind = self._left.pop(0)
                try:
                    self._open.append(kind(self.filename, self.num_threads))
                except Exception as error:
                    self._reasons.append((kind.name, error))
                    continue
            decoder = self._open[place]
            yield decoder
            place += decoder in self._open

    def _drop(self, decoder: Decoder, error: Exception) -> None:
        self._open.remove(decoder)
        self._reasons.append((decoder.name, error))

    def _log(self, decoder: Decoder) -> None:
        failed = [(name, e) for name, e in self._reasons if not isinstance(e, InexactError)]
        if not failed:
            return
        name, error = failed[-1]
        suffix = osp.splitext(self.filename)[1]
        kind = re.sub(r'\W', '', f'{name}_{suffix}_{codec_of(self.filename)}')
        warn_once(
            f'not_by_{kind}',
            f'{self.filename} and maybe others ({suffix}): {name} cannot read it '
            f'({_last_line(error)}), {NAMES[decoder.name]} does.',
        )

    def _unreadable(self) -> Exception:
        named = {name: _last_line(error) for name, error in self._reasons}
        reasons = '; '.join(f'{NAMES[name]}: {reason}' for name, reason in named.items())
        advice = '' if 'pyav' in named else '; fix: pip install av, which reads most files'
        return ValueError(f'no decoder reads it: {reasons}{advice}')


NAMES = dict(decord='decord', pyav='PyAV', torchcodec='torchcodec', opencv='OpenCV')


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[-1]


def _agree(one: np.ndarray, two: np.ndarray) -> bool:
    return one.shape == two.shape and cv2.absdiff(one, two).mean() < AGREE
