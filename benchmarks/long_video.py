"""Memory and time of tools/predict.py --every on a long video: files in a loop.

    python benchmarks/long_video.py CONFIG CHECKPOINT VIDEO ... --minutes 60

Prints the resident memory after each tenth of the time, the frames a second and the segments.
Linux alone. Further options go to the tool.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('videos', nargs='+')
    parser.add_argument('--minutes', type=float, default=60)
    parser.add_argument('--every', type=float, default=1)
    return parser


def write(path: Path, videos: list[str], minutes: float) -> int:
    """Write the videos one after the other; the number of frames."""
    first = cv2.VideoCapture(videos[0])
    fps = first.get(cv2.CAP_PROP_FPS)
    size = tuple(
        int(first.get(one)) for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    )
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), fps, size)
    left = total = round(60 * minutes * fps)
    for video in itertools.cycle(videos):
        capture = cv2.VideoCapture(video)
        while left and (read := capture.read())[0]:
            writer.write(cv2.resize(read[1], size))
            left -= 1
        if not left:
            writer.release()
            return total
    return 0


def memory(pid: int) -> float:
    """Resident memory of a process in MiB."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith('VmRSS')), 0.0)


def main(argv: list[str] | None = None) -> int:
    args, options = argument_parser().parse_known_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        video, out = Path(folder, 'long.avi'), Path(folder, 'long.jsonl')
        frames = write(video, args.videos, args.minutes)
        tool = [sys.executable, ROOT / 'tools/predict.py', args.config, args.checkpoint, video]
        command = [*map(str, tool), '--every', str(args.every), '--jsonl', str(out), *options]
        began, found = time.monotonic(), []
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                found.append((time.monotonic() - began, memory(process.pid)))
                time.sleep(1)
        seconds = time.monotonic() - began
        segments = json.loads(out.read_text())['segments'] if out.is_file() else []
    tenths = [
        max(mib for when, mib in found if k / 10 <= when / seconds <= (k + 1) / 10)
        for k in range(10)
    ]
    print(
        json.dumps(
            dict(
                code=process.returncode,
                frames=frames,
                seconds=round(seconds),
                segments=len(segments),
                frames_per_second=round(frames / seconds, 1),
                mib=[round(mib) for mib in tenths],
            )
        )
    )
    return process.returncode


if __name__ == '__main__':
    sys.exit(main())
