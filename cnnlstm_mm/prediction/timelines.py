"""Segments of video files and addresses, by the options of ``predict --every``."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from cnnlstm_mm.run_identity import file_hash
from cnnlstm_mm.streaming.activity import ActivityGate
from cnnlstm_mm.streaming.events import Event, class_number
from cnnlstm_mm.streaming.recognizer import StreamingRecognizer
from cnnlstm_mm.streaming.source import Frame, VideoSource

from .recording import is_address
from .timeline import Timeline, pace_of


class Timelines:
    """A recognizer that gives the segments of videos.

    Args:
        cfg: Config of a model that runs frame by frame.
        checkpoint: Its weights.
        device: Where it runs.
        every: Seconds of the shortest segment.
        window: Seconds of a window, see :func:`pace_of`.
        overlap: Windows over each moment.
        min_score: Least mean score of a segment.
        none_class: Name or number of the class that has no segments.
        activity: File of limits, see :class:`ActivityGate`.
        seconds: How long live sources are read.

    Raises:
        FileNotFoundError, RuntimeError, ValueError: If the model needs whole clips, or the
            checkpoint does not fit.
    """

    def __init__(
        self,
        cfg: Config,
        checkpoint: str,
        device: str = 'cpu',
        every: float = 1.0,
        window: float | None = None,
        overlap: int = 2,
        min_score: float = 0.5,
        none_class: str | int | None = None,
        activity: str | None = None,
        seconds: float = 10.0,
    ) -> None:
        if '://' not in checkpoint and not Path(checkpoint).is_file():
            raise FileNotFoundError(f'expected a checkpoint, got {checkpoint}: no such file')
        self.rec = StreamingRecognizer(cfg, checkpoint, device)
        self.every, self.window, self.overlap = every, window, overlap
        self.min_score, self.seconds = min_score, seconds
        self.none_class = cfg.get('none_class') if none_class is None else none_class
        self.activity = activity

    def settings(self) -> dict[str, Any]:
        """What segments depend on, beside the model."""
        return dict(
            every=self.every,
            window=self.window,
            overlap=self.overlap,
            min_score=self.min_score,
            none_class=self.none_class,
            activity=None if self.activity is None else file_hash(self.activity),
        )

    def segments(
        self, source: str, labels: Sequence[str], advance: Callable[[int | None], Any]
    ) -> list[Event]:
        """Find the segments of a file, a folder of pictures or an address.

        Args:
            source: It.
            labels: Names of the classes.
            advance: Called at each frame with the number of all frames, if it is known.

        Raises:
            SourceError: If it cannot be read.
            ValueError: For an unknown ``none_class``.
        """
        video = VideoSource(source, live=None if is_address(source) else False)
        pace = pace_of(self.rec, video.fps, self.every, self.window)
        video.every = pace.interval
        total = -(-video.frames // pace.interval) or None
        name = self.none_class
        number = None if name is None else class_number(name, labels)
        timeline = Timeline(
            *(self.rec, labels, pace, self.overlap, self.min_score),
            none_class=number,
            limits=None if self.activity is None else ActivityGate.read(self.activity),
        )

        def frames() -> Iterator[Frame]:
            for frame in video:
                if video.live and frame.time > self.seconds:
                    return
                advance(total)
                yield frame

        with video:
            return list(timeline.segments(frames()))
