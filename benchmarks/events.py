"""Events in a made stream: built-in clips with known borders, and pauses between them.

    python benchmarks/events.py CONFIG CHECKPOINT --minutes 30
    python benchmarks/events.py CONFIG CHECKPOINT --minutes 30 --activity
    python benchmarks/events.py CONFIG CHECKPOINT --minutes 30 --activity --every 1
    python benchmarks/events.py CONFIG CHECKPOINT --minutes 30 --no-pauses --every 1

Clips of the validation list stand between pauses of 1 to 5 s: frozen, black, one colour, or noise.
tools/stream_demo.py finds the events and tools/analysis/events.py scores them; then 300 black,
noisy and frozen pictures each should have none. --activity calibrates limits of activity on
training clips; without it the model's none class, or its scores alone, must tell the pauses.
--every takes the segments of tools/predict.py instead, which may look both ways. --no-pauses cuts
the clips together without anything between them; neighbours of one class are one segment.
Further options go to the tool; thresholds of the demo here, 0.7 and 0.1, were chosen on another
seed.
"""

import argparse
import csv
import json
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from cnnlstm_mm.datasets.pauses import KINDS, pause
from cnnlstm_mm.streaming.activity import calibrate

ROOT = Path(__file__).resolve().parents[1]
FPS = 8


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--data', type=Path, default=Path('data/quickstart'))
    parser.add_argument('--minutes', type=float, default=30)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--activity', action='store_true', help='calibrate and use limits')
    parser.add_argument('--every', type=float, help='seconds of the shortest segment')
    parser.add_argument(
        '--pauses', action=argparse.BooleanOptionalAction, default=True, help='between the clips'
    )
    parser.add_argument('--keep', type=Path, help='folder to keep all files in')
    return parser


def pictures(path: Path) -> Iterator[np.ndarray]:
    """Frames of a video, BGR."""
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, image = capture.read()
        if not ok:
            return
        yield image


def write(path: Path, images: Iterator[np.ndarray]) -> None:
    """Write frames of 96x96 pixels as Motion-JPEG."""
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), code, FPS, (96, 96))
    for image in images:
        writer.write(image)
    writer.release()


def stream(
    data: Path, seconds: float, truth: list[dict], pauses: bool = True
) -> Iterator[np.ndarray]:
    """Frames of the stream; its segments are put into ``truth``."""
    lines = (data / 'quickstart_val_split_1_videos.txt').read_text().split('\n')
    clips = [line.split()[0] for line in lines if line]
    image, count = np.zeros((96, 96, 3), np.uint8), 0
    while count < seconds * FPS:
        between = pause(image, np.random.randint(FPS, 5 * FPS + 1)) if pauses else []
        clip = clips[np.random.randint(len(clips))]
        frames = list(pictures(data / 'videos' / clip))
        start = (count + len(between)) / FPS
        label = Path(clip).parts[0]
        if truth and (truth[-1]['end'], truth[-1]['label']) == (start, label):
            start = truth.pop()['start']
        end = (count + len(between) + len(frames)) / FPS
        truth.append(dict(start=start, end=end, label=label))
        yield from [*between, *frames]
        count += len(between) + len(frames)
        image = frames[-1]
    if pauses:
        yield from pause(image, FPS)


def tool(path: str, *args: object) -> None:
    """Run a tool of the repository in this process."""
    code = runpy.run_path(str(ROOT / path))['main']([str(arg) for arg in args])
    if code:
        sys.exit(code)


def run(args: argparse.Namespace, folder: Path) -> dict:
    """Make the stream, find and score its events, and count those of pauses.

    Returns:
        ``precision``, ``recall`` and ``overlap`` over all classes, and ``pauses``: the number of
        events of each kind of 300 pictures.
    """
    np.random.seed(args.seed)
    truth: list[dict] = []
    write(folder / 'stream.avi', stream(args.data, 60 * args.minutes, truth, args.pauses))
    with open(folder / 'truth.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, ['start', 'end', 'label'])
        writer.writeheader()
        writer.writerows(truth)
    options = ['--event-high', 0.7, '--event-low', 0.1, '--label-file', labels(args, folder)]
    if args.every is not None:
        options = ['--every', args.every, '--label-map', labels(args, folder)]
    options += args.options
    if args.activity:
        clips = sorted((args.data / 'videos').glob('*/*.avi'))
        (folder / 'activity.json').write_text(json.dumps(calibrate(clips[::16])))
        options += ['--activity', folder / 'activity.json']
    model = args.config, args.checkpoint

    def find(video: Path) -> Path:
        out = video.with_suffix('.jsonl')
        if args.every is not None:
            tool('tools/predict.py', *model, video, '--jsonl', out, *options)
            (answer,) = map(json.loads, out.read_text().splitlines())
            events = [dict(event, label=event['class']) for event in answer['segments']]
            out.write_text(''.join(json.dumps(event) + '\n' for event in events))
            return out
        tool('tools/stream_demo.py', video, *model, '--events-out', out, *options)
        events = [json.loads(line) for line in out.read_text().splitlines()]
        for event in events:
            del event['source']
        out.write_text(''.join(json.dumps(event) + '\n' for event in events))
        return out

    found = find(folder / 'stream.avi')
    scores = folder / 'scores.json'
    tool('tools/analysis/events.py', folder / 'truth.csv', found, '--json', scores)
    result = dict(json.loads(scores.read_text())['scores']['all'], pauses={})
    for kind in KINDS if args.pauses else ():
        images = pause(next(pictures(folder / 'stream.avi')), 300, kind)
        if kind == 'frozen':
            clip = next((args.data / 'videos').glob('*/*_g001_c01.avi'))
            images = pause(next(pictures(clip)), 300, kind)
        write(folder / f'{kind}.avi', iter(images))
        events = find(folder / f'{kind}.avi').read_text().splitlines()
        result['pauses'][kind] = len(events)
    return result


def labels(args: argparse.Namespace, folder: Path) -> Path:
    """A label file for the config, with 'none' if it has that class."""
    from mmengine.config import Config

    names = (args.data / 'label_map.txt').read_text()
    if Config.fromfile(args.config).get('none_class') is not None:
        names += 'none\n'
    (folder / 'labels.txt').write_text(names)
    return folder / 'labels.txt'


def main(argv: list[str] | None = None) -> int:
    args, args.options = argument_parser().parse_known_args(argv)
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(args, args.keep)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(run(args, Path(folder))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
