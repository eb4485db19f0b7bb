"""The streams of ``cnnlstm-mm stream``, and what is written of them."""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.streaming import (
    ActivityGate,
    EventDetector,
    EventLog,
    Frame,
    ScoreOverlay,
    SourceGroup,
    StreamBatch,
    StreamingRecognizer,
    VideoOut,
    VideoSource,
    Webhook,
    read_labels,
    write_line,
)
from cnnlstm_mm.streaming.status import Status

LATENCIES = 10_000  # frames whose latencies are kept
LONGEST_STEP = 2.0  # seconds, or two steps: beyond it events end


@contextmanager
def stopped_by_signals(source: VideoSource | SourceGroup) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the iteration, and only a second Ctrl-C interrupt.

    Signals that are ignored already, as SIGHUP is under nohup, stay ignored.
    """

    def stop(*_: Any) -> None:
        source.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    names = [name for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    handled = [name for name, old in before.items() if old not in (None, signal.SIG_IGN)]
    for name in handled:
        signal.signal(getattr(signal, name), stop)
    try:
        yield
    finally:
        for name in handled:
            signal.signal(getattr(signal, name), before[name])


def line(
    source: VideoSource, frame: Frame, scores: np.ndarray, labels: list[str], topk: int
) -> dict[str, Any]:
    """One frame's scores as a JSON object."""
    best = np.argsort(-scores, kind='stable')[:topk]
    return dict(
        source=source.name,
        frame=frame.index,
        time=round(frame.time, 4),
        timestamp=datetime.now(timezone.utc).isoformat(),
        session=frame.session,
        top=[dict(label=labels[k], score=round(float(scores[k]), 6)) for k in best],
        scores=[round(float(score), 6) for score in scores],
    )


def numbered(out: str | None, count: int) -> list[Path]:
    """The video of each of ``count`` sources; [] without one."""
    path = Path(out or '')
    if not out or count == 1:
        return [path] if out else []
    return [path.with_name(f'{path.stem}_{k}{path.suffix}') for k in range(count)]


def summary(run: 'StreamRun', seconds: float) -> dict[str, Any]:
    """Frames, their pace and rate, latency in ms of the last ones, the last answer and losses."""
    milliseconds = 1e3 * np.asarray(run.latencies or [np.nan])
    sources = run.sources
    return dict(
        frames=run.frames,
        every=sources[0].every,
        answer=run.answer,
        fps=run.frames / seconds,
        latency_median=float(np.median(milliseconds)),
        latency_p95=float(np.percentile(milliseconds, 95)),
        dropped=sum(source.dropped for source in sources),
        reconnects=sum(source.reconnects for source in sources),
    )


class StreamRun:
    """The streams, and what is written of them.

    Args:
        args (Namespace): The parsed arguments.
        stdout: Receives what is written to -.
        stack (ExitStack): Closes everything.
    """

    def __init__(self, args: argparse.Namespace, stdout: IO[str], stack: ExitStack) -> None:
        self.args, self.stdout, self.stack = args, stdout, stack
        cfg = Config.fromfile(find_config(args.config))
        cfg.merge_from_dict(args.cfg_options or {})
        if args.threads:
            torch.set_num_threads(args.threads)
            cv2.setNumThreads(args.threads)
        rec = StreamingRecognizer(
            cfg, args.checkpoint, args.device, torch.bfloat16 if args.bf16 else torch.float32
        )
        self.rec, self.streams = rec, StreamBatch(rec)
        self.frames = 0
        self.answer = ''
        self.latencies: list[float] = []  # seconds, of the last frames
        self.labels = read_labels(cfg, rec.num_classes, args.label_file)
        if args.none_class is None:
            args.none_class = cfg.get('none_class')
        # Their options are refused before sources are opened.
        self.detector(0.0), self.gate()
        self.hook = stack.enter_context(Webhook(args.webhook)) if args.webhook else None
        if rec.transform.size:
            rec.step(torch.zeros(1, 3, *rec.transform.size))  # warms up
        every = args.every or rec.frame_interval
        self.sources = [
            VideoSource(source, every, args.live, args.retries, args.fps, args.timeout)
            for source in args.sources
        ]
        self.group = stack.enter_context(SourceGroup(self.sources))
        self.gates = [self.gate() for _ in self.sources]
        self.sessions = [0] * len(self.sources)
        self.quiet: set[int] = set()
        self.overlays = [ScoreOverlay(self.labels, args.topk) for _ in self.sources]
        self.videos = [
            VideoOut(path, source.fps / every)
            for path, source in zip(numbered(args.out, len(args.sources)), self.sources)
        ]
        for video in self.videos:
            stack.callback(video.close)
        self.scores = self.lines(args.json)
        self.events = self.event_log()
        known = [-(-source.frames // every) for source in self.sources]
        self.total = args.max_frames or (sum(known) if all(known) else None)

    def detector(self, step: float) -> EventDetector:
        """A detector with the options of the command line, for frames ``step`` seconds apart."""
        names = ('high', 'low', 'smoothing', 'window', 'min_length', 'merge_gap')
        options = {name: getattr(self.args, f'event_{name}') for name in names}
        options.update(none_class=self.args.none_class, longest_step=max(LONGEST_STEP, 2 * step))
        return EventDetector(self.labels, **options)

    def gate(self) -> ActivityGate | None:
        """Tells pauses, if it is asked for."""
        return ActivityGate.read(self.args.activity) if self.args.activity else None

    def lines(self, path: str | None) -> IO[str] | None:
        """A new file that is closed at the end; None without a path."""
        if path is None or path == '-':
            return self.stdout if path else None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self.stack.enter_context(open(path, 'w', encoding='utf-8'))

    def event_log(self) -> EventLog | None:
        """Events and where they go, if they are asked for."""
        args = self.args
        if not args.events:
            return None
        ended, both = [], []
        if self.hook:
            both.append(self.hook.post)
        file = self.lines(args.events_out)
        if file:
            ended.append(lambda message: write_line(file, message))
        step = max(source.every / source.fps for source in self.sources)
        names = [source.name for source in self.sources]
        return EventLog(names, lambda: self.detector(step), ended, both)

    def run(self, console: Console) -> None:
        """Recognize until the sources end, or the user does."""
        status = self.stack.enter_context(Status(self.sources, console, self.total))
        for batch in self.group:
            if not batch or not self.step(batch):
                status.update(0)
                if batch:
                    break
                for k, source in enumerate(self.sources):
                    if self.events and source.live:
                        self.events.idle(k)
                continue
            status.update(len(batch), self.text)
            if self.frames >= (self.args.max_frames or np.inf):
                break

    def step(self, batch: dict[int, Frame]) -> bool:
        """Recognize a batch and write it; False if the user wants to end."""
        quiet = {k for k, frame in batch.items() if self.paused(k, frame)}
        for k in quiet | self.quiet & batch.keys():  # so that an action begins a stream
            self.streams.reset(k)
        self.quiet = self.quiet - batch.keys() | quiet
        found = self.streams.step(batch)
        for k, frame in batch.items():
            scores = self.rec.model.as_probabilities(found[k]).cpu().numpy()
            self.frames += 1
            self.latencies.append(time.perf_counter() - frame.arrived)
            del self.latencies[:-LATENCIES]
            if self.events:
                self.events.update(k, np.zeros_like(scores) if k in quiet else scores, frame)
            if self.scores is not None:
                message = line(self.sources[k], frame, scores, self.labels, self.args.topk)
                write_line(self.scores, message)
            dropped = sum(source.dropped for source in self.sources)
            best = self.labels[scores.argmax()]
            self.answer = f'{best} {scores.max():.2f}'
            self.text = f'{best} {1e3 * np.median(self.latencies[-50:]):.1f} ms, {dropped} dropped'
            if self.videos or self.args.show:
                image = self.overlays[k](frame.image, scores, self.text)
                if self.videos:
                    self.videos[k].write(image, frame.time)
                if self.args.show and show(self.sources[k].name, image):
                    return False
        return True

    def paused(self, k: int, frame: Frame) -> bool:
        """Whether nothing happens in a frame of a source."""
        gate = self.gates[k]
        if gate is None:
            return False
        if frame.session != self.sessions[k]:
            self.sessions[k] = frame.session
            gate.reset()
        return not gate.update(frame.image, frame.time)

    def finish(self) -> None:
        """End the events that have not ended."""
        for k in range(len(self.sources)):
            if self.events:
                self.events.finish(k)


def has_display() -> bool:
    """Whether OpenCV can open a window.

    It is tried in a process of its own, because Qt ends a process that it finds without a display.
    """
    code = "import cv2; cv2.namedWindow('cnnlstm_mm')"
    return subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


def show(name: str, image: np.ndarray) -> bool:
    """Show an image; whether the user wants to end."""
    cv2.imshow(f'cnnlstm_mm {name}', image)
    return cv2.waitKey(1) & 0xFF in (ord('q'), 27)
