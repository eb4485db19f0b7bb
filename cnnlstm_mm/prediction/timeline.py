"""Timeline of a long video: segments of one class each, in one pass and constant memory."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from cnnlstm_mm.config import test_pipeline
from cnnlstm_mm.streaming.activity import ActivityGate
from cnnlstm_mm.streaming.events import Event
from cnnlstm_mm.streaming.recognizer import StreamingRecognizer
from cnnlstm_mm.streaming.shots import ShotFrame, split_shots
from cnnlstm_mm.streaming.source import Frame

from .segments import best_segments, merge

LIMIT = 4096  # steps whose scores are kept before they are divided


class Pace(NamedTuple):
    """How a video is cut into windows.

    Attributes:
        interval: frames of the video from one step to the next.
        window: steps, as many as the model takes of a clip.
        least: steps of the shortest segment.
    """

    interval: int
    window: int
    least: int


def pace_of(rec: StreamingRecognizer, fps: float, every: float, window: float | None) -> Pace:
    """Choose the pace of a model's training clips.

    Frames that SampleFrames takes at an interval keep it, and a window is a clip of the test.
    UniformSample spreads its frames over a whole video, here over each window.

    Args:
        rec: the recognizer.
        fps: frames per second of the video.
        every: seconds of the shortest segment.
        window: seconds; None for a clip of the test, or ``every`` with UniformSample.
    """
    sampling = next((t for t in test_pipeline(rec.cfg) if 'clip_len' in t), {})
    steps = int(sampling.get('clip_len', 16))
    interval = rec.frame_interval
    if 'frame_interval' not in sampling:
        interval = max(1, round((window or every) * fps / steps))
    elif window is not None:
        steps = max(1, round(window * fps / interval))
    return Pace(interval, steps, max(1, round(every * fps / interval)))


class Timeline:
    """Find the segments of a video.

    The video is divided at its cuts and, with ``limits``, its pauses, see :func:`split_shots`;
    nothing is carried over them. Within a shot, windows of the length of a training clip begin
    every ``window / overlap`` steps; the backbone runs once on each frame, and the neck once for
    each window. The scores of a step are the mean over the windows that hold it, each scored when
    it has ended, so that an action has its score from its first frame on. Then the shot is divided
    into the most likely segments, see :func:`best_segments`.

    Args:
        rec: the recognizer.
        labels: names of the classes.
        pace: see :func:`pace_of`.
        overlap: windows over each step.
        least_score: least mean score of a segment.
        none_class: number of the class "nothing is happening", which has no segments.
        limits: of actions; see :func:`split_shots`.
    """

    def __init__(
        self,
        rec: StreamingRecognizer,
        labels: Sequence[str],
        pace: Pace,
        overlap: int = 2,
        least_score: float = 0.5,
        none_class: int | None = None,
        limits: ActivityGate | None = None,
    ) -> None:
        self.rec, self.labels, self.pace = rec, list(labels), pace
        self.hop = -(-pace.window // max(1, min(overlap, pace.window)))
        self.overlap = -(-pace.window // self.hop)
        self.least_score, self.none_class, self.limits = least_score, none_class, limits
        self.several = rec.model.multi_class

    def segments(self, frames: Iterable[Frame]) -> Iterator[Event]:
        """Yield the segments as soon as they are known; of several labels, those of one by one.

        Args:
            frames: of the video, one for each step.
        """
        found = self._all(frames)
        if not self.several:
            yield from merge(found)
            return
        by_label: dict[str, list[Event]] = {}
        for event in found:
            by_label.setdefault(event.label, []).append(event)
        yield from sorted(event for events in by_label.values() for event in merge(events))

    def _all(self, frames: Iterable[Frame]) -> Iterator[Event]:
        shots = itertools.groupby(split_shots(frames, self.limits), lambda found: found.shot)
        for number, shot in shots:
            if number is not None:
                yield from self._shot(shot)

    def _shot(self, shot: Iterator[ShotFrame]) -> Iterator[Event]:
        votes = _Votes(len(self.labels))
        windows: list[int] = []  # first step of each window that has not ended
        state, last, before = None, None, None
        while chunk := list(itertools.islice(shot, self.hop)):
            times = [(found.frame.time, found.end) for found in chunk]
            x = self._prepare([found.frame.image for found in chunk])
            windows.append(votes.add(times))
            state, last = self._step(self._features(x, before, len(windows)), state)
            before = x[:, :, -1]
            if len(windows) == self.overlap and len(chunk) == self.hop:
                votes.vote(windows.pop(0), last[0])
                state = state.select(np.arange(1, self.overlap)) if windows else None
                last = last[1:]
            # Windows still vote on the last steps.
            if len(votes.times) > LIMIT + self.hop * self.overlap:
                yield from self._divide(votes, final=False)
        if windows and last is not None and not votes.complete:
            votes.vote(windows[0], last[0])
        yield from self._divide(votes, final=True)

    def _prepare(self, images: list[np.ndarray]) -> Tensor:
        x = self.rec.prepare([cv2.cvtColor(image, cv2.COLOR_BGR2RGB) for image in images])
        return x[None].transpose(1, 2)  # [1, 3, T, H, W]

    @torch.no_grad()
    def _features(self, x: Tensor, before: Tensor | None, windows: int) -> Tensor:
        """Features [N, C, T, h, w] of the windows, the last of which begins with frames ``x``."""
        model = self.rec.model
        if before is None or not model.sees_motion:
            features = model.features(x)
            return features.expand(windows, *features.shape[1:])
        features = model.features(x, before)
        begun = torch.cat([model.features(x[:, :, :1]), features[:, :, 1:]], 2)
        return torch.cat([features.expand(windows - 1, *features.shape[1:]), begun])

    @torch.no_grad()
    def _step(self, features: Tensor, state: Any) -> tuple[Any, Tensor]:
        """Run the windows, a new one among them, on T steps; their state and scores [N, K]."""
        zeros = self.rec.model.init_state(
            1, (features.shape[3], features.shape[4]), features.device
        )
        # The backbone's state is the frame before, which is the same of all windows.
        begun = self.rec.State(
            {name: zero for name, zero in zeros.items() if not name.startswith('backbone.')},
            self.rec.model_id,
        )
        state = begun if state is None else self.rec.State.cat([state, begun])
        scores, tensors = self.rec.model(features, state.tensors)
        last = self.rec.model.as_probabilities(scores[:, -1])
        if not torch.isfinite(last).all():
            raise ValueError('expected finite scores of the model, got NaN or infinity')
        return self.rec.State(tensors, self.rec.model_id), last.cpu()

    def _divide(self, votes: '_Votes', final: bool) -> Iterator[Event]:
        times = votes.times
        scores = votes.scores(len(times) if final else LIMIT)
        taken = len(scores)
        if final and taken < min(self.pace.least, 3):
            return  # a flash between two cuts
        if self.several:
            parts = [
                (first, end, k)
                for k in range(len(self.labels))
                for first, end, yes in best_segments(
                    np.stack([1 - scores[:, k], scores[:, k]], 1), self.pace.least
                )
                if yes
            ]
        else:
            parts = best_segments(scores, self.pace.least)
            if not final and len(parts) > 1:  # the last one may go on
                taken = parts.pop()[0]
        for first, end, k in parts:
            score = float(scores[first:end, k].mean())
            if k != self.none_class and score >= self.least_score:
                yield Event(times[first][0], times[end - 1][1], self.labels[k], score)
        votes.drop(taken)


class _Votes:
    """Scores of the last steps: means over the windows that hold them."""

    def __init__(self, classes: int) -> None:
        self.times: list[tuple[float, float]] = []
        self._before = 0  # steps that were dropped
        self._sums = np.zeros((0, classes))  # [T, classes]
        self._counts = np.zeros(0)
        self.complete = False  # whether each step has a vote

    def add(self, times: list[tuple[float, float]]) -> int:
        """Add steps; the number of the first."""
        first = self._before + len(self.times)
        self.times += times
        self._counts = np.append(self._counts, np.zeros(len(times)))
        self.complete = False
        return first

    def vote(self, first: int, scores: Tensor) -> None:
        """Add a window's scores [classes] to the steps from ``first`` to the last one."""
        start, steps = first - self._before, len(self.times)
        missing = np.zeros((steps - len(self._sums), len(scores)))
        self._sums = np.concatenate([self._sums, missing])
        self._sums[start:] += scores.double().numpy()
        self._counts[start:] += 1
        self.complete = True

    def scores(self, steps: int) -> np.ndarray:
        """Mean scores of the first steps [T, classes]."""
        return self._sums[:steps] / self._counts[:steps, None]

    def drop(self, steps: int) -> None:
        """Forget the first steps."""
        self._before += steps
        del self.times[:steps]
        self._sums, self._counts = self._sums[steps:], self._counts[steps:]
