"""torchcodec: PyTorch's decoder, on the FFmpeg of the system."""

import numpy as np

from .base import Decoder, InexactError, check_upright, plausible
from .video_track import video_track

# Elsewhere (.avi, .ts, .mpg) it was seen to be off by up to 12 frames.
EXACT = ('.mp4', '.m4v', '.mov', '.mkv', '.webm')


class TorchCodecDecoder(Decoder):
    """``torchcodec.decoders.VideoDecoder`` with its exact seeking."""

    name = 'torchcodec'

    def __init__(self, filename: str, num_threads: int = 1) -> None:
        from torchcodec.decoders import VideoDecoder

        track = video_track(filename)
        check_upright(track, 'torchcodec')
        if track.hides:
            raise InexactError('torchcodec seeks to frames that an edit list hides')
        if not filename.lower().endswith(EXACT):
            raise InexactError('torchcodec does not seek exactly in this container')
        self._decoder = VideoDecoder(
            filename, dimension_order='NHWC', num_ffmpeg_threads=num_threads, seek_mode='exact'
        )
        self.frames = self.packets = len(self._decoder)
        self.fps = plausible(self._decoder.metadata.average_fps or 0)

    def get(self, indices: np.ndarray) -> np.ndarray:
        """See :meth:`Decoder.get`."""
        return self._decoder.get_frames_at(indices.tolist()).data.numpy()
