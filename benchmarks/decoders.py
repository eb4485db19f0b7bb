"""What each installed decoder reads, against the ffmpeg program, and how fast.

    python benchmarks/decoders.py --json decoders.json
    python benchmarks/decoders.py --markdown decoders.json decord2.json

Encodes the files itself (tests/helpers/video_files.py). Needs the tests' requirements. The second
form joins the results of several environments, such as one with decord and one with decord2.
"""

import argparse
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
from helpers.video_files import FILES, make_video, shown_frames

from cnnlstm_mm.datasets.decoders import KINDS, InexactError, installed
from cnnlstm_mm.datasets.video_reader import VideoReader

PACKAGES = dict(pyav='av', opencv='opencv-python')
SPEED = ('340x256', 300, '-c:v libx264 -pix_fmt yuv420p -bf 2 -g 48', '')
WAYS = ('sequential', '16 uniform', 'seek')


def verdict(path: Path, shown: np.ndarray | None, decoder: str) -> str:
    """'yes', 'refused', or what is wrong with the frames."""
    try:
        reader = VideoReader(str(path), decoder=decoder)
        count = len(reader)
        picked = np.unique(np.linspace(0, count - 1, 9).astype(int))
        frames = [reader.get_batch([count // 2])[0], *reader.get_batch(picked)]
    except (ValueError, InexactError):
        return 'refused'
    if shown is None or count != len(shown):
        return f'WRONG: {count} frames'
    if frames[0].shape != shown.shape[1:]:
        return f'WRONG: {frames[0].shape}'
    worst = max(
        cv2.absdiff(np.asarray(frame), shown[index]).mean()
        for frame, index in zip(frames, [count // 2, *picked])
    )
    return 'yes' if worst < 8 else f'WRONG: {worst:.0f} levels'


def milliseconds(path: Path, decoder: str, repeats: int) -> dict[str, float]:
    """Median CPU time of each way to read, opening included; one thread."""
    count = SPEED[1]
    indices = dict(
        zip(WAYS, (np.arange(count), np.linspace(0, count - 1, 16).astype(int), [count * 2 // 3]))
    )
    times = {}
    for way, wanted in indices.items():
        taken = []
        for _ in range(repeats):
            start = time.process_time()
            VideoReader(str(path), decoder=decoder).get_batch(wanted)
            taken.append(1e3 * (time.process_time() - start))
        times[way] = float(np.median(taken))
    return times


def measure(repeats: int) -> dict[str, dict]:
    """Results of each installed decoder, with its version."""
    decoders = [name for name in KINDS if installed(name)]
    if 'decord2' in decoders:  # one module of two names
        decoders.remove('decord')
    found: dict[str, dict] = {
        name: dict(version=version(PACKAGES.get(name, name)), reads={}) for name in decoders
    }
    with tempfile.TemporaryDirectory() as place:
        for name in FILES:
            path = make_video(name, Path(place))
            shown = None if name == 'only_sound.mp4' else shown_frames(path)
            for decoder in decoders:
                found[decoder]['reads'][name] = verdict(path, shown, decoder)
        FILES['speed.mp4'] = SPEED
        path = make_video('speed.mp4', Path(place))
        del FILES['speed.mp4']
        for decoder in decoders:
            found[decoder]['milliseconds'] = milliseconds(path, decoder, repeats)
    return found


def markdown(found: dict[str, dict]) -> str:
    """Both tables."""
    names = [name for name in KINDS if name in found]
    rule = '| --- |' + ' --- |' * len(names)

    def row(first: str, cells: list[str]) -> str:
        return f'| {first} | {" | ".join(cells)} |'

    return '\n'.join(
        [
            row('file', [f'{name} {found[name]["version"]}' for name in names]),
            rule,
            *(row(file, [found[name]['reads'][file] for name in names]) for file in FILES),
            '',
            row('CPU milliseconds', names),
            rule,
            *(
                row(way, [f'{found[name]["milliseconds"][way]:.0f}' for name in names])
                for way in WAYS
            ),
        ]
    )


def main() -> None:
    """Measure and print, or join."""
    parser = argparse.ArgumentParser(description='Decoders: what they read, and how fast')
    parser.add_argument('--json', type=Path, help='write the results here')
    parser.add_argument('--markdown', type=Path, nargs='+', help='print these results alone')
    parser.add_argument('--repeats', type=int, default=7)
    args = parser.parse_args()
    if args.markdown:
        joined: dict[str, dict] = {}
        for path in reversed(args.markdown):
            joined.update(json.loads(path.read_text()))
        print(markdown(joined))
        return
    found = measure(args.repeats)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))
    print(markdown(found))
    wrong = [v for part in found.values() for v in part['reads'].values() if 'WRONG' in v]
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
