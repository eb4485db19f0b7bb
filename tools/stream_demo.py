r"""Recognize actions live in a video file, a webcam or a network stream.

    python tools/stream_demo.py SOURCE CONFIG CHECKPOINT --out scored.mp4
    python tools/stream_demo.py 0 CONFIG CHECKPOINT --show
    python tools/stream_demo.py rtsp://camera/stream CONFIG CHECKPOINT \
        --json scores.jsonl --every 2

A live source never waits: of the frames that arrive during a step only the
newest is used, and the others count as dropped. A lost source is reopened, and
its scores start over. After Ctrl-C, SIGTERM or SIGHUP the output files are
complete.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import torch
from mmengine.config import Config, DictAction
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import run_command
from cnnlstm_mm.streaming import (
    ScoreOverlay,
    SourceError,
    StreamingRecognizer,
    VideoSource,
    read_labels,
)


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Recognize actions frame by frame',
        epilog='Press q in the window, or Ctrl-C, to stop.',
    )
    parser.add_argument(
        'source', help='a video file or pipe, a webcam (0, /dev/video0), or an RTSP or HTTP address'
    )
    parser.add_argument('config', help='config file path')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', help='write the annotated video here (.mp4)')
    parser.add_argument(
        '--show',
        action='store_true',
        help='show it in a window; default if neither --out nor --json is given',
    )
    parser.add_argument(
        '--json',
        help='write the scores of each frame here, one JSON object per line; - for standard output',
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
    parser.add_argument(
        '--retries',
        type=int,
        default=10,
        help='consecutive attempts to get frames from a lost live source',
    )
    parser.add_argument(
        '--label-file',
        help='one class per line; default: label_map.txt in the data_root of the config',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument(
        '--bf16', action='store_true', help='convolutions in bfloat16, if the device supports it'
    )
    parser.add_argument('--threads', type=int, help='CPU threads of PyTorch')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config, as key=value',
    )
    return parser


class VideoOut:
    """Video file that shows each frame at its time in the source.

    Args:
        path (str): The mp4 file.
        fps (float): Frames per second of the file.
    """

    def __init__(self, path: str, fps: float) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path, self.fps = path, fps
        self.writer: cv2.VideoWriter | None = None
        self.written = 0
        self.size = (0, 0)

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Write an image until the video is ``seconds`` long."""
        if self.writer is None:
            self.size = image.shape[1::-1]
            self.writer = cv2.VideoWriter(
                self.path, cv2.VideoWriter_fourcc(*'mp4v'), self.fps, self.size
            )
            if not self.writer.isOpened():
                raise SourceError(
                    f'expected a writable file, got {self.path}, which OpenCV cannot write'
                )
        if image.shape[1::-1] != self.size:  # the source has changed its size
            image = cv2.resize(image, self.size)
        copies = max(1, round(seconds * self.fps) + 1 - self.written)
        for _ in range(copies):
            self.writer.write(image)
        self.written += copies

    def close(self) -> None:
        """Finish the file."""
        if self.writer is not None:
            self.writer.release()


class StateColumn(ProgressColumn):
    """The state of a source: connecting, silent, streaming, lost or ended."""

    def __init__(self, source: VideoSource) -> None:
        super().__init__()
        self.source = source

    def render(self, task: Task) -> Text:
        return Text(self.source.state.value)


@contextmanager
def stopped_by_signals(source: VideoSource) -> Iterator[None]:
    """End the iteration at Ctrl-C, SIGTERM and SIGHUP; a second Ctrl-C interrupts.

    Signals that are already ignored, as SIGHUP is under nohup, stay ignored.
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


def line(frame: Any, scores: np.ndarray, labels: list[str], topk: int) -> str:
    """Format the scores of a frame as JSON."""
    best = np.argsort(-scores, kind='stable')[:topk]
    return json.dumps(
        dict(
            frame=frame.index,
            time=round(frame.time, 4),
            timestamp=datetime.now(timezone.utc).isoformat(),
            session=frame.session,
            top=[dict(label=labels[k], score=round(float(scores[k]), 6)) for k in best],
            scores=[round(float(score), 6) for score in scores],
        )
    )


def summary(latencies: list[float], seconds: float, source: VideoSource) -> dict[str, Any]:
    """Frame rate, latency in ms, dropped frames and reconnects."""
    milliseconds = 1e3 * np.asarray(latencies or [np.nan])
    return dict(
        frames=len(latencies),
        fps=len(latencies) / seconds,
        latency_median=float(np.median(milliseconds)),
        latency_p95=float(np.percentile(milliseconds, 95)),
        dropped=source.dropped,
        reconnects=source.reconnects,
    )


def recognize(args: argparse.Namespace, console: Console, stdout: IO[str]) -> dict[str, Any]:
    """Recognize until the source ends or the user stops.

    Args:
        args (Namespace): Arguments of the tool.
        console (Console): Shows the progress.
        stdout: Receives the scores of ``--json -``.

    Returns:
        dict: See :func:`summary`.
    """
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    rec = StreamingRecognizer(
        cfg, args.checkpoint, args.device, torch.bfloat16 if args.bf16 else torch.float32
    )
    labels = read_labels(cfg, rec.num_classes, args.label_file)
    if rec.transform.size:
        rec.step(torch.zeros(1, 3, *rec.transform.size))  # warms up
    overlay = ScoreOverlay(labels, args.topk)
    every = args.every or rec.frame_interval
    state, session, latencies = None, 0, []
    with ExitStack() as stack:
        source = stack.enter_context(VideoSource(args.source, every, retries=args.retries))
        stack.enter_context(stopped_by_signals(source))
        video = out = None
        if args.out:
            video = VideoOut(args.out, source.fps / every)
            stack.callback(video.close)
        if args.json:
            out = stdout if args.json == '-' else open_lines(args.json, stack)
        progress = stack.enter_context(
            Progress(
                StateColumn(source),
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
        )
        total = args.max_frames or -(-source.frames // every) or None
        task = progress.add_task('', total=total)
        start = time.perf_counter()
        try:
            for frame in source:
                if frame.session != session:
                    state, session = None, frame.session
                rgb = cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)
                scores, state = rec.step(rgb[None], state)
                if not rec.model.probabilities:
                    scores = scores.softmax(1)
                scores = scores[0].cpu().numpy()
                latencies.append(time.perf_counter() - frame.arrived)
                if out is not None:
                    out.write(line(frame, scores, labels, args.topk) + '\n')
                    out.flush()
                status = (
                    f'{labels[scores.argmax()]} '
                    f'{1e3 * np.median(latencies[-50:]):.1f} ms, '
                    f'{source.dropped} dropped'
                )
                progress.update(task, advance=1, description=status)
                if video is not None or args.show:
                    image = overlay(frame.image, scores, status)
                    if video is not None:
                        video.write(image, frame.time)
                    if args.show and show(image):
                        break
                if len(latencies) == args.max_frames:
                    break
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # the reader of --json - has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
        seconds = time.perf_counter() - start
    if not latencies and not source.stopped:
        raise SourceError(f'expected frames, got none from {source.name}')
    return summary(latencies, seconds, source)


def open_lines(path: str, stack: ExitStack) -> IO[str]:
    """Open a new file that ``stack`` closes."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(open(path, 'w'))


def show(image: np.ndarray) -> bool:
    """Show an image; True if the user pressed q or Escape."""
    try:
        cv2.imshow('cnnlstm_mm', image)
        return cv2.waitKey(1) & 0xFF in (ord('q'), 27)
    except cv2.error as error:
        raise SourceError(
            f'expected a display for --show, got none ({error.err}); fix: pass --out FILE.mp4 or '
            '--json FILE instead'
        ) from None


def demo(args: argparse.Namespace) -> None:
    """Run, and print frame rate, latency, dropped frames and reconnects."""
    if args.out and not args.out.endswith('.mp4'):
        raise ValueError(f'expected --out to be an .mp4 file, got {args.out}')
    args.show = args.show or not (args.out or args.json)
    stdout = sys.stdout
    # Standard output may be for JSON, and loading a model prints.
    with redirect_stdout(sys.stderr):
        found = recognize(args, Console(stderr=True), stdout)
    print(
        '{frames} frames, {fps:.1f} frames/s, latency {latency_median:.1f} ms '
        'median, {latency_p95:.1f} ms p95, {dropped} dropped, {reconnects} '
        'reconnects'.format(**found),
        file=sys.stderr if args.json == '-' else sys.stdout,
    )


def main(argv: list[str] | None = None) -> int:
    return run_command(demo, argument_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
