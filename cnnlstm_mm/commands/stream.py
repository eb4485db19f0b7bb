r"""Name the action while a video runs: files, webcams or addresses, and events on request.

    cnnlstm-mm stream SOURCE CONFIG CHECKPOINT --out scored.mp4
    cnnlstm-mm stream 0 CONFIG CHECKPOINT --show
    cnnlstm-mm stream rtsp://camera/stream CONFIG CHECKPOINT \
        --json scores.jsonl --every 2
    cnnlstm-mm stream rtsp://door/s rtsp://yard/s CONFIG CHECKPOINT \
        --events-out events.jsonl --webhook https://example.org/alarm

Several sources share one batch and one log. A live source never waits: of the
frames that come while the last one is worked on, only the newest is used, and
the others are counted as dropped. A lost one is opened again, and its scores
begin anew. Ctrl-C, SIGTERM and SIGHUP end it with whole files.
"""

import argparse
import os
import sys
import time
from contextlib import ExitStack, redirect_stdout
from typing import IO, Any, NoReturn

from rich.console import Console

import cnnlstm_mm  # noqa: F401  mends and registers, before mmaction loads
from cnnlstm_mm.cli import add_cfg_options, add_label_file, check_needed, run_command
from cnnlstm_mm.options import check_int, check_number
from cnnlstm_mm.storage import check_outputs
from cnnlstm_mm.streaming import SourceError, mask_password

from .stream_run import StreamRun, has_display, numbered, stopped_by_signals, summary

# Options of events: name, default and help.
EVENTS = (
    ('high', 0.6, 'score that confirms an event'),
    ('low', 0.3, 'score at which it begins and ends'),
    ('smoothing', 0.0, 'time constant of exponential smoothing, in seconds'),
    ('window', 0.0, 'or: seconds over which scores are averaged'),
    ('min-length', 0.0, 'shortest event, in seconds'),
    ('merge-gap', 0.0, 'seconds within which an event may begin again and go on'),
)


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
        help='show it in a window; default where there is a display and no other output',
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
    for name, default, text in EVENTS:
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
        help='limits of cnnlstm-mm analysis activity: pictures that change less, or flicker more, '
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
        run = StreamRun(args, stdout, stack)
        stack.enter_context(stopped_by_signals(run.group))
        start = time.perf_counter()
        try:
            try:
                run.run(console)
            finally:
                run.finish()
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # the reader of --json - has left
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        seconds = time.perf_counter() - start
    names = ', '.join(source.name for source in run.sources)
    if not run.frames and not run.group.stopped:
        raise SourceError(f'expected frames, got none from {names}')
    found = summary(run, seconds)
    return dict(found, events=run.events and run.events.count, failed=run.group.failed)


def check_arguments(args: argparse.Namespace) -> None:
    """Raise ValueError for options that cannot be or have no effect, before any work."""
    if args.out and not args.out.endswith('.mp4'):
        raise ValueError(f'--out {args.out}: name an .mp4 file')
    check_int(**{'--topk': args.topk})
    check_int(optional=True, **{'--threads': args.threads})
    check_int(0, **{'--retries': args.retries})
    for name in ('every', 'max_frames'):
        if getattr(args, name) is not None:
            check_number(1, **{f'--{name.replace("_", "-")}': getattr(args, name)})
    check_number(0, 1, **{'--event-high': args.event_high, '--event-low': args.event_low})
    if not args.events:
        names = [f'event_{name}'.replace('-', '_') for name, *_ in EVENTS]
        needed = '--events, --events-out FILE or --webhook URL'
        check_needed(args, argument_parser(), [*names, 'none_class'], needed)
    files = {f'--out ({k})': path for k, path in enumerate(numbered(args.out, len(args.sources)))}
    if len(files) == 1:
        files = {'--out': args.out}
    files |= {'--json': args.json, '--events-out': args.events_out}
    read = (*args.sources, args.config, args.checkpoint, args.label_file, args.activity)
    check_outputs(read, files)


def demo(args: argparse.Namespace) -> None:
    """Run, and print frame rate, latency and losses."""
    if args.events and not args.events_out:
        args.events_out = '-'
    args.events = bool(args.events_out or args.webhook)
    check_arguments(args)
    if args.show or not (args.out or args.json or args.events):
        wanted, args.show = args.show, has_display()
        if wanted and not args.show:
            raise SourceError(
                'expected a display for the window of --show, got none; fix: --out FILE.mp4 or '
                '--json FILE in its place'
            )
    stdout = sys.stdout
    # It may be for JSON, and loading prints to it.
    with redirect_stdout(sys.stderr):
        found = recognize(args, Console(stderr=True), stdout)
    to_stdout = '-' in (args.json, args.events_out)
    text = (
        '{frames} frames, {fps:.1f} frames/s, latency {latency_median:.1f} ms '
        'median, {latency_p95:.1f} ms p95, {dropped} dropped, {reconnects} '
        'reconnects'.format(**found)
    )
    if found['every'] > 1:
        text = text.replace(' frames,', f' frames, one of {found["every"]},', 1)
    if len(args.sources) == 1 and found['frames']:
        text += f', at the end {found["answer"]}'
    if found['events'] is not None:
        text += f', {found["events"]} events'
    print(text, file=sys.stderr if to_stdout else sys.stdout)
    if found['failed']:
        count, first = len(found['failed']), next(iter(found['failed'].values()))
        raise SourceError(f'{count} of {len(args.sources)} sources failed, the first: {first}')


def main(argv: list[str] | None = None) -> int:
    return run_command(demo, argument_parser(), argv)
