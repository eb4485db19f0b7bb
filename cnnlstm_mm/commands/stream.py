r"""Name the action while a video runs: files, webcams or addresses, and events on request.

    python tools/stream_demo.py SOURCE CONFIG CHECKPOINT --out scored.mp4
    python tools/stream_demo.py 0 CONFIG CHECKPOINT --show
    python tools/stream_demo.py rtsp://camera/stream CONFIG CHECKPOINT \
        --json scores.jsonl --every 2
    python tools/stream_demo.py rtsp://door/s rtsp://yard/s CONFIG CHECKPOINT \
        --events-out events.jsonl --webhook https://example.org/alarm

Several sources share one batch and one log. A live source never waits: of the
frames that come while the last one is worked on, only the newest is used, and
the others are counted as dropped. A lost one is opened again, and its scores
begin anew. Ctrl-C, SIGTERM and SIGHUP end it with whole files.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NoReturn

import cv2
import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, add_label_file, run_command
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.streaming import (
    ActivityGate,
    EventDetector,
    EventLog,
    Frame,
    ScoreOverlay,
    SourceError,
    SourceGroup,
    StreamBatch,
    StreamingRecognizer,
    VideoOut,
    VideoSource,
    Webhook,
    mask_password,
    read_labels,
    write_line,
)
from cnnlstm_mm.streaming.status import Status


class Parser(argparse.ArgumentParser):
    """An argument parser that shows no passwords."""

    def error(self, message: str) -> NoReturn:
        super().error(mask_password(message))


def argument_parser() -> argparse.ArgumentParser:
    parser = Parser(
        description='Recognize actions frame by frame',
        epilog='Press q in the window, or Ctrl-C, to stop. Several sources stand together, before '
        'the config and the checkpoint.',
    )
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='source',
        help='a video file, a folder of pictures, a pipe (- for standard input), a webcam '
        '(0, /dev/video0), or an RTSP or HTTP address',
    )
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out',
        help='write the annotated video here (.mp4); of several sources, numbered ones beside it',
    )
    parser.add_argument(
        '--show',
        action='store_true',
        help='show it in a window; default if no other output is given',
    )
    parser.add_argument(
        '--json',
        help='write the scores of each frame here, a JSON object a line; - for standard output',
    )
    parser.add_argument('--topk', type=int, default=5, help='classes to show')
    parser.add_argument(
        '--every',
        type=int,
        help='recognize every N-th frame of the source; default: the frame_interval '
        'that the config was trained with',
    )
    parser.add_argument(
        '--max-frames', type=int, help='stop after this number of recognized frames'
    )
    live = parser.add_argument_group('sources')
    live.add_argument(
        '--live',
        action=argparse.BooleanOptionalAction,
        help='whether the sources come at their own pace and are opened again after their end; '
        'default: webcams, RTSP, and HTTP without a known length',
    )
    live.add_argument(
        '--retries',
        type=int,
        default=10,
        help='consecutive attempts to get frames from a lost live source',
    )
    live.add_argument(
        '--timeout',
        type=float,
        default=5,
        help='seconds to open an address, and to get its next frame, before it counts as lost',
    )
    live.add_argument(
        '--fps', type=float, help='frames a second of a folder of pictures; default: 25'
    )
    events = parser.add_argument_group('events')
    events.add_argument(
        '--events',
        action='store_true',
        help='find events and write them to standard output, a JSON object a line',
    )
    events.add_argument('--events-out', metavar='FILE', help='write them here instead')
    events.add_argument(
        '--webhook', metavar='URL', help='post each event as JSON when it begins and when it ends'
    )
    for name, default, text in (
        ('high', 0.6, 'score that confirms an event'),
        ('low', 0.3, 'score at which it begins and ends'),
        ('smoothing', 0.0, 'time constant of exponential smoothing, in seconds'),
        ('window', 0.0, 'or: seconds over which scores are averaged'),
        ('min-length', 0.0, 'shortest event, in seconds'),
        ('merge-gap', 0.0, 'seconds within which an event may begin again and go on'),
    ):
        events.add_argument(
            f'--event-{name}', type=float, default=default, help=f'{text}; default: {default:g}'
        )
    events.add_argument(
        '--none-class',
        help='the class for "nothing is happening", which has no events; default: none_class of '
        'the config',
    )
    events.add_argument(
        '--activity',
        metavar='FILE',
        help='limits of tools/analysis/activity.py: pictures that change less, or flicker more, '
        'than training clips have no events, and scores begin anew after them',
    )
    add_label_file(parser)
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument(
        '--bf16', action='store_true', help='convolutions in bfloat16, where the device has it'
    )
    parser.add_argument('--threads', type=int, help='CPU threads of PyTorch')
    add_cfg_options(parser)
    return parser


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


def summary(latencies: list[float], seconds: float, sources: list[VideoSource]) -> dict[str, Any]:
    """Frame rate, latency in ms, and what was lost."""
    milliseconds = 1e3 * np.asarray(latencies or [np.nan])
    return dict(
        frames=len(latencies),
        fps=len(latencies) / seconds,
        latency_median=float(np.median(milliseconds)),
        latency_p95=float(np.percentile(milliseconds, 95)),
        dropped=sum(source.dropped for source in sources),
        reconnects=sum(source.reconnects for source in sources),
    )


class Demo:
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
        self.latencies: list[float] = []
        self.labels = read_labels(cfg, rec.num_classes, args.label_file)
        if args.none_class is None:
            args.none_class = cfg.get('none_class')
        # Their options are refused before sources are opened.
        self.detector(), self.gate()
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
            for path, source in zip(self.numbered(args.out), self.sources)
        ]
        for video in self.videos:
            stack.callback(video.close)
        self.scores = self.lines(args.json)
        self.events = self.event_log()
        known = [-(-source.frames // every) for source in self.sources]
        self.total = args.max_frames or (sum(known) if all(known) else None)

    def detector(self) -> EventDetector:
        """A detector with the options of the command line."""
        names = ('high', 'low', 'smoothing', 'window', 'min_length', 'merge_gap')
        options = {name: getattr(self.args, f'event_{name}') for name in names}
        return EventDetector(self.labels, none_class=self.args.none_class, **options)

    def gate(self) -> ActivityGate | None:
        """Tells pauses, if it is asked for."""
        return ActivityGate.read(self.args.activity) if self.args.activity else None

    def numbered(self, out: str | None) -> list[Path]:
        """The file of each source; [] without one."""
        if not out:
            return []
        path, count = Path(out), len(self.args.sources)
        if count == 1:
            return [path]
        return [path.with_name(f'{path.stem}_{k}{path.suffix}') for k in range(count)]

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
        if args.events_out or not args.webhook:
            file = self.lines(args.events_out or '-')
            ended.append(lambda message: write_line(file, message))
        return EventLog([source.name for source in self.sources], self.detector, ended, both)

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
            if len(self.latencies) >= (self.args.max_frames or np.inf):
                break

    def step(self, batch: dict[int, Frame]) -> bool:
        """Recognize a batch and write it; False if the user wants to end."""
        quiet = {k for k, frame in batch.items() if self.paused(k, frame)}
        for k in quiet | self.quiet & batch.keys():  # so that an action begins a stream
            self.streams.reset(k)
        self.quiet = self.quiet - batch.keys() | quiet
        found = self.streams.step(batch)
        for k, frame in batch.items():
            scores = found[k]
            if not self.rec.model.probabilities:
                scores = scores.softmax(0)
            scores = scores.cpu().numpy()
            self.latencies.append(time.perf_counter() - frame.arrived)
            if self.events:
                self.events.update(k, np.zeros_like(scores) if k in quiet else scores, frame)
            if self.scores is not None:
                message = line(self.sources[k], frame, scores, self.labels, self.args.topk)
                write_line(self.scores, message)
            dropped = sum(source.dropped for source in self.sources)
            self.text = (
                f'{self.labels[scores.argmax()]} '
                f'{1e3 * np.median(self.latencies[-50:]):.1f} ms, {dropped} dropped'
            )
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


def recognize(args: argparse.Namespace, console: Console, stdout: IO[str]) -> dict[str, Any]:
    """Recognize until the sources end, or the user does.

    Args:
        args (Namespace): The parsed arguments.
        console (Console): Where the progress is shown.
        stdout: Receives what is written to -.

    Returns:
        dict: See :func:`summary`.
    """
    with ExitStack() as stack:
        demo = Demo(args, stdout, stack)
        stack.enter_context(stopped_by_signals(demo.group))
        start = time.perf_counter()
        try:
            try:
                demo.run(console)
            finally:
                demo.finish()
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # the reader of --json - has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        seconds = time.perf_counter() - start
    names = ', '.join(source.name for source in demo.sources)
    if not demo.latencies and not demo.group.stopped:
        raise SourceError(f'expected frames, got none from {names}')
    found = summary(demo.latencies, seconds, demo.sources)
    return dict(found, events=demo.events and demo.events.count, failed=demo.group.failed)


def show(name: str, image: np.ndarray) -> bool:
    """Show an image; whether the user wants to end."""
    try:
        cv2.imshow(f'cnnlstm_mm {name}', image)
        return cv2.waitKey(1) & 0xFF in (ord('q'), 27)
    except cv2.error as error:
        raise SourceError(
            'there is no display for a window: pass --out FILE.mp4 or --json '
            f'FILE instead of --show ({error.err})'
        ) from None


def demo(args: argparse.Namespace) -> None:
    """Run, and print frame rate, latency and losses."""
    if args.out and not args.out.endswith('.mp4'):
        raise ValueError(f'--out {args.out}: name an .mp4 file')
    args.events = bool(args.events or args.events_out or args.webhook)
    args.show = args.show or not (args.out or args.json or args.events)
    stdout = sys.stdout
    # It may be for JSON, and loading prints to it.
    with redirect_stdout(sys.stderr):
        found = recognize(args, Console(stderr=True), stdout)
    to_stdout = '-' in (args.json, args.events_out)
    to_stdout |= args.events and not (args.events_out or args.webhook)
    text = (
        '{frames} frames, {fps:.1f} frames/s, latency {latency_median:.1f} ms '
        'median, {latency_p95:.1f} ms p95, {dropped} dropped, {reconnects} '
        'reconnects'.format(**found)
    )
    if found['events'] is not None:
        text += f', {found["events"]} events'
    print(text, file=sys.stderr if to_stdout else sys.stdout)
    if found['failed']:
        count, first = len(found['failed']), next(iter(found['failed'].values()))
        raise SourceError(f'{count} of {len(args.sources)} sources failed, the first: {first}')


def main(argv: list[str] | None = None) -> int:
    return run_command(demo, argument_parser(), argv)
