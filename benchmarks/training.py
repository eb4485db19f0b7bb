"""Speed of training and testing, end to end from video files.

MobileNetV2 with each neck, fine-tuned and frozen, and MMAction2's own
TSN-MobileNetV2 run MMAction2's Runner on the same videos, frame size, frames,
batch and workers, each in a separate process. They take turns of a few seconds
while the others are paused, so that all see the same load of the machine. It
prints frames per second over all turns, then the time of each part of a
training step. On a CPU our runs keep their freed memory, as tools/train.py does;
the stock model runs unchanged, and once more with its memory kept.

    python benchmarks/training.py --ann-file LIST --videos DIR --json speed.json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import training_runs as runs
from worker import Worker

STOCK = 'TSN (stock)'
KEPT = 'TSN (memory kept)'
RUNS = ['LSTM', 'light ConvLSTM', 'LSTM, frozen', 'light ConvLSTM, frozen', 'LSTM, frozen bf16']


def models(data: runs.Data) -> dict:
    """All runs by name."""
    import torch

    from cnnlstm_mm.models.acceleration.folded_copy import has_bfloat16

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    found = {STOCK: runs.tsn(data), KEPT: runs.tsn(data)}
    for name, neck in runs.NECKS.items():
        found[name] = runs.recurrent(data, neck)
        found[f'{name}, frozen'] = runs.recurrent(data, neck, frozen=True)
        if has_bfloat16(device):
            found[f'{name}, frozen bf16'] = runs.recurrent(data, neck, frozen=True, bf16=True)
    return found


MODES = ('train', 'test')
WARMUP = 5  # iterations, until queues are full and the memory has settled


def in_turns(workers: dict, mode: str, turns: int, seconds: float) -> dict:
    """Iterations per second of each run, in each turn.

    All train or test without end, but only one runs at a time, so that a
    change of the machine's speed affects all of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        numbers = {}
        for k, (name, worker) in enumerate(workers.items()):
            path = Path(folder) / str(k)
            path.write_bytes(bytes(16))
            numbers[name] = np.memmap(path, np.int64)
            worker.start('go', mode, str(path))
            while numbers[name][0] < WARMUP:
                if worker.pipe.poll(0.1):
                    worker.answer()  # raises the error of the run
            worker.pause()
        speeds = {name: [] for name in workers}
        for _ in track(range(turns), f'Turns of {mode}', console=Console(stderr=True)):
            for name, worker in workers.items():
                before, start = numbers[name][0], time.perf_counter()
                worker.go_on()
                time.sleep(seconds)
                worker.pause()
                speeds[name].append((numbers[name][0] - before) / (time.perf_counter() - start))
        for name, worker in workers.items():
            numbers[name][1] = 1
            worker.go_on()
            worker.answer()
            worker.ask('rest')
    return speeds


def measure(workers: dict, args: argparse.Namespace) -> list:
    """Measure all runs; return one row per run."""
    frames = args.batch * args.frames
    turns = {mode: in_turns(workers, mode, args.turns, args.seconds) for mode in args.modes}
    alone = {
        name: [] for name in workers if name in (STOCK, KEPT) or name.startswith('LSTM, frozen')
    }
    for _ in track(range(args.turns), 'Turns of the backbone alone', console=Console(stderr=True)):
        for name in alone:
            alone[name].append(workers[name].ask('frozen_backbone', 16))
    rows = []
    for name, worker in workers.items():
        row = dict(run=name, peak_mb=worker.ask('peak'), parts_ms=worker.ask('profile'))
        worker.ask('rest')
        for mode, speeds in turns.items():
            row[f'all_{mode}'] = [speed * frames for speed in speeds[name]]
            row[mode] = statistics.mean(row[f'all_{mode}'])
        row['all_frozen_backbone'] = alone.get(name, [])
        row['frozen_backbone'] = statistics.median(alone[name]) if name in alone else None
        rows.append(row)
    return rows


def show(rows: list) -> None:
    stock = rows[0]
    print(f'{"":<24}{"training":>17}{"testing":>17}{"peak":>8}{"backbone alone":>18}')
    print(
        f'{"":<24}{"frames/s":>9}{"x stock":>8}{"frames/s":>9}{"x stock":>8}'
        f'{"MB":>8}{"ms/frame":>10}{"x stock":>8}'
    )
    for r in rows:
        line = f'{r["run"]:<24}'
        for mode in MODES:
            line += f'{r[mode]:>9.1f}{r[mode] / stock[mode]:>8.2f}' if mode in r else ' ' * 17
        line += f'{r["peak_mb"]:>8.0f}'
        if r['frozen_backbone']:
            line += (
                f'{r["frozen_backbone"]:>10.1f}'
                f'{stock["frozen_backbone"] / r["frozen_backbone"]:>8.2f}'
            )
        print(line)
    print('\nA training step, ms a frame (decoding and transforms: of one worker)')
    print(f'{"":<24}' + ''.join(f'{p:>12}' for p in runs.PARTS))
    for r in rows:
        print(f'{r["run"]:<24}' + ''.join(f'{r["parts_ms"][p]:>12.2f}' for p in runs.PARTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--ann-file',
        default='data/quickstart/quickstart_val_split_1_videos.txt',
        help='list of videos; default: the built-in data (python tools/data/make_quickstart.py)',
    )
    parser.add_argument('--videos', default='data/quickstart/videos')
    parser.add_argument(
        '--weights',
        help="checkpoint of MMAction2's MobileNetV2, recommended: a frozen backbone "
        'with random weights is slow',
    )
    parser.add_argument('--frames', type=int, default=8)
    parser.add_argument('--side', type=int, default=224)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--modes', nargs='+', choices=MODES, default=MODES)
    parser.add_argument('--turns', type=int, default=8)
    parser.add_argument('--seconds', type=float, default=6, help='length of a turn')
    parser.add_argument(
        '--runs',
        nargs='*',
        default=RUNS,
        help='of: LSTM, light ConvLSTM and '
        'ConvLSTM, each alone and with ", frozen" or ", frozen bf16" (where '
        'the device has it) behind it; default: %(default)s',
    )
    parser.add_argument('--json', help='file for all figures')
    args = parser.parse_args()
    for path in (args.ann_file, args.videos):
        if not Path(path).exists():
            parser.error(
                f'expected a list and a folder of videos, got {path}: no such file; fix: make the '
                'built-in data with python tools/data/make_quickstart.py, or name --ann-file and '
                '--videos'
            )
    data = runs.Data(
        args.ann_file,
        args.videos,
        args.frames,
        args.side,
        args.batch,
        args.workers,
        args.threads,
        args.weights,
    )
    workers = {}
    for name, model in models(data).items():
        if name in (STOCK, KEPT, *args.runs):
            workers[name] = Worker(runs.Run, dict(OMP_NUM_THREADS=str(args.threads)))
            workers[name].ask('build', model, data, name != STOCK)
    try:
        rows = measure(workers, args)
    finally:
        for worker in workers.values():
            worker.close()
    show(rows)
    if args.json:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'
        Path(args.json).write_text(
            json.dumps(
                dict(device=device, torch=torch.__version__, **vars(args), rows=rows), indent=1
            )
        )


if __name__ == '__main__':
    main()
