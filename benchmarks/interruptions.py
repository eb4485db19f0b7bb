"""Random interruptions of a live source, and what tools/stream_demo.py makes of them.

    python benchmarks/interruptions.py CONFIG [CHECKPOINT] --count 200 --seed 0

A server on the loopback interface sends Motion-JPEG over HTTP. Each connection ends, after some
pictures, in one of KINDS, drawn by the seed. After the last one the server is gone, so that the
demo ends with an error after its tries. Checked: how long the source goes without a new connection
or picture, memory, and that every file opens. Time-outs and pauses are shortened by default.
"""

import argparse
import contextlib
import io
import json
import random
import runpy
import socket
import struct
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from cnnlstm_mm.streaming import source

ROOT = Path(__file__).resolve().parents[1]
KINDS = (
    'end',  # the stream ends
    'cut',  # the connection is reset in the middle of a picture
    'stall',  # nothing more comes, and the connection stays
    'drip',  # a byte now and then
    'pause',  # nothing comes for less than the time-out; then it goes on, and ends
    'garbage',  # pictures of random bytes, between good ones
    'noise',  # random bytes in the place of the protocol
    'broken',  # half of a picture under the length of the whole, and good ones after it
    'sizes',  # pictures of other sizes, and of other kinds
    'refused',  # an error of the server
    'empty',  # the connection is closed without an answer
    'silent',  # headers, and then nothing
)
SIZES = ((48, 64), (240, 320), (96, 96), (33, 57), (480, 640), (16, 16))


class Server(ThreadingHTTPServer):
    """Motion-JPEG with interruptions.

    Args:
        count: their number, after which nothing is accepted.
        seed: of their kinds.
        timeout: the client's, in seconds.
    """

    daemon_threads = True

    def __init__(self, count: int, seed: int, timeout: float) -> None:
        super().__init__(('127.0.0.1', 0), Handler)
        rng = random.Random(seed)
        # Each kind equally often, in any order.
        self.kinds = [KINDS[k % len(KINDS)] for k in range(count)]
        rng.shuffle(self.kinds)
        # A source that cannot be opened at first is an error at once.
        first = self.kinds.index('end')
        self.kinds[0], self.kinds[first] = self.kinds[first], self.kinds[0]
        self.rng, self.limit = rng, timeout
        self.done: list[str] = []
        self.seen: list[float] = []  # when a connection came
        self.address = f'http://operator:secret@127.0.0.1:{self.server_port}/video'
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Clients leave whenever they like."""

    def leave(self) -> None:
        """Be gone, while this connection is still open."""
        threading.Thread(target=lambda: (self.shutdown(), self.server_close())).start()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server

    def do_GET(self) -> None:
        """Some pictures, and the next interruption."""
        server, rng = self.server, self.server.rng
        server.seen.append(time.monotonic())
        if len(server.done) >= len(server.kinds):
            self.close_connection = True
            return server.leave()
        kind = server.kinds[len(server.done)]
        server.done.append(kind)
        self.close_connection = True
        if kind == 'empty':
            return
        if kind == 'refused':
            return self.send_error(rng.choice([404, 500, 503]))
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
        self.end_headers()
        with contextlib.suppress(OSError):
            if kind != 'silent':
                # The first has enough of them to be opened, whatever the seed.
                count = 20 if len(server.done) == 1 else rng.randrange(1, 8)
                self.pictures(count, rng.choice(SIZES))
            getattr(self, f'be_{kind}', lambda: None)()

    def pictures(self, count: int, size: tuple[int, int] = SIZES[0]) -> None:
        """Good ones."""
        for _ in range(count):
            self.part(self.picture(size))
            time.sleep(0.01)

    def picture(self, size: tuple[int, int] = SIZES[0], kind: str = '.jpg') -> bytes:
        """A picture, encoded."""
        image = np.full((*size, 3), self.server.rng.randrange(256), np.uint8)
        return cv2.imencode(kind, image)[1].tobytes()

    def part(self, data: bytes, length: int | None = None) -> None:
        """A part of the multipart stream."""
        head = b'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n'
        self.wfile.write(head % (length or len(data)) + data + b'\r\n')

    def be_cut(self) -> None:
        """See KINDS, as the others."""
        data = self.picture(SIZES[1])
        self.wfile.write(b'--frame\r\nContent-Type: image/jpeg\r\n\r\n' + data[: len(data) // 2])
        linger = struct.pack('ii', 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def be_stall(self) -> None:
        time.sleep(3 * self.server.limit)

    be_silent = be_stall

    def be_drip(self) -> None:
        for byte in self.picture()[:30]:
            self.wfile.write(bytes([byte]))
            time.sleep(0.1 * self.server.limit)

    def be_pause(self) -> None:
        time.sleep(0.5 * self.server.limit)
        self.pictures(3)

    def be_garbage(self) -> None:
        for _ in range(5):
            self.part(self.server.rng.randbytes(self.server.rng.randrange(1, 3000)))
            self.pictures(1)

    def be_noise(self) -> None:
        self.wfile.write(self.server.rng.randbytes(20_000))

    def be_broken(self) -> None:
        data = self.picture(SIZES[1])
        self.part(data[: len(data) // 2], len(data))
        self.pictures(3)

    def be_sizes(self) -> None:
        for size in SIZES:
            self.pictures(2, size)
        self.part(self.picture(kind='.png'))
        self.pictures(1)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def resident() -> float:
    """Memory of this process in MiB."""
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * 4096 / 2**20


def run(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the demo against the server.

    Returns:
        ``interruptions`` by kind, ``code`` and ``error`` of the demo, ``seconds``, ``longest``
        between two connections, ``allowed`` of it, ``frames`` and ``sessions`` written,
        ``video_frames`` read back, ``memory`` in MiB after a fifth of the run and at its end,
        ``secret``, whether the password is anywhere, and ``threads`` that are left.
    """
    source.PAUSE, source.LONGEST_PAUSE = args.pause, 4 * args.pause
    server = Server(args.count, args.seed, args.timeout)
    demo = runpy.run_path(str(ROOT / 'tools/stream_demo.py'))['main']
    memory: list[tuple[int, float]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            memory.append((len(server.done), resident()))

    threading.Thread(target=watch, daemon=True).start()
    files = {name: folder / f'out.{name}' for name in ('mp4', 'jsonl', 'events.jsonl')}
    said = io.StringIO()
    start, threads = time.monotonic(), threading.active_count()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        options = dict(
            {'timeout': args.timeout, 'retries': 8, 'threads': 1, 'event-high': 0.13},
            **{'event-low': 0.1, 'out': files['mp4'], 'json': files['jsonl']},
            **{'events-out': files['events.jsonl']},
        )
        flags = [text for name, value in options.items() for text in (f'--{name}', str(value))]
        code = demo([server.address, args.config, str(args.checkpoint), *flags])
    seconds = time.monotonic() - start
    if not files['jsonl'].exists():
        raise RuntimeError(said.getvalue())
    over.set()
    time.sleep(2 * args.timeout)
    lines = [json.loads(line) for line in files['jsonl'].read_text().splitlines()]
    events = [json.loads(line) for line in files['events.jsonl'].read_text().splitlines()]
    video, read = cv2.VideoCapture(str(files['mp4'])), 0
    while video.read()[0]:
        read += 1
    text = said.getvalue() + ''.join(file.read_text() for file in [*files.values()][1:])
    early = [value for count, value in memory if count >= args.count // 5]
    return dict(
        interruptions={kind: server.done.count(kind) for kind in KINDS},
        code=code,
        error=said.getvalue().strip().split('\n')[-1],
        seconds=round(seconds, 1),
        longest=round(float(np.diff(server.seen).max()), 2),
        allowed=round(2 * args.timeout + 4 * args.pause, 2),
        frames=len(lines),
        sessions=lines[-1]['session'] + 1,
        events=len(events),
        video_frames=read,
        memory=[round(early[0], 1), round(memory[-1][1], 1)],
        secret='secret' in text,
        threads=threading.active_count() - threads,
    )


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--count', type=int, default=200)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--timeout', type=float, default=1.0, help='of the source, in seconds')
    parser.add_argument('--pause', type=float, default=0.05, help='before a source is reopened')
    return parser


def main(argv: list[str] | None = None) -> int:
    args = argument_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(args, Path(folder)), indent=2))
    return 0


if __name__ == '__main__':
    sys.exit(main())
