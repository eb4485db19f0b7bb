"""Speed of training and testing, end to end from video files.

MobileNetV2 with each neck, fine-tuned and frozen, and MMAction2's own
TSN-MobileNetV2 take turns at every repeat, each in a process of its own that
runs MMAction2's Runner on the same videos, frame size, frames, batch and
workers; the medians are printed, then where the time of a training step goes.
On a CPU our runs keep their freed memory, as tools/train.py does; the stock
model runs as it stands, and once more with its memory kept.

    python benchmarks/training.py --ann-file LIST --videos DIR --json speed.json
"""
import argparse
import json
import os
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import training_runs as runs  # noqa: E402
from worker import Worker  # noqa: E402

STOCK = 'TSN (stock)'
KEPT = 'TSN (memory kept)'
RUNS = ['LSTM', 'light ConvLSTM', 'LSTM, frozen', 'light ConvLSTM, frozen',
        'LSTM, frozen bf16']


def models(data: runs.Data) -> dict:
    """All runs by their names."""
    from cnnlstm_mm.models.backbones.folding import has_bfloat16
    import torch
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    found = {STOCK: runs.tsn(data), KEPT: runs.tsn(data)}
    for name, neck in runs.NECKS.items():
        found[name] = runs.recurrent(data, neck)
        found[f'{name}, frozen'] = runs.recurrent(data, neck, frozen=True)
        if has_bfloat16(device):
            found[f'{name}, frozen bf16'] = runs.recurrent(
                data, neck, frozen=True, bf16=True)
    return found


def measure(workers: dict, args: argparse.Namespace) -> list:
    """One row a run."""
    modes = {'train': args.iterations, 'test': args.test_videos,
             'frozen_backbone': 16}
    values = {(name, mode): [] for name in workers for mode in modes}
    for repeat in range(args.repeats + 1):
        for mode, size in modes.items():
            for name, worker in workers.items():
                print(f'\r{repeat}/{args.repeats} {mode} {name:<30}', end='',
                      file=sys.stderr)
                if mode == 'frozen_backbone' and not (
                        name in (STOCK, KEPT)
                        or name.startswith('LSTM, frozen')):
                    continue
                if repeat:
                    values[name, mode].append(worker.ask(mode, size))
                else:  # warms up
                    worker.ask(mode, 1)
                worker.ask('rest')
    rows = []
    for name, worker in workers.items():
        row = dict(run=name, peak_mb=worker.ask('peak'),
                   parts_ms=worker.ask('profile'))
        worker.ask('rest')
        for mode in modes:
            taken = values[name, mode]
            row[mode] = statistics.median(taken) if taken else None
            row[f'all_{mode}'] = taken
        rows.append(row)
    print(file=sys.stderr)
    return rows


def show(rows: list) -> None:
    stock = rows[0]
    print(f'{"":<24}{"training":>17}{"testing":>17}{"peak":>8}'
          f'{"backbone alone":>18}')
    print(f'{"":<24}{"frames/s":>9}{"x stock":>8}{"frames/s":>9}{"x stock":>8}'
          f'{"MB":>8}{"ms/frame":>10}{"x stock":>8}')
    for r in rows:
        line = f'{r["run"]:<24}'
        for mode in ('train', 'test'):
            line += f'{r[mode]:>9.1f}{r[mode] / stock[mode]:>8.2f}'
        line += f'{r["peak_mb"]:>8.0f}'
        if r['frozen_backbone']:
            line += f'{r["frozen_backbone"]:>10.1f}' \
                f'{stock["frozen_backbone"] / r["frozen_backbone"]:>8.2f}'
        print(line)
    print('\nA training step, ms a frame (decoding and transforms: of one '
          'worker)')
    print(f'{"":<24}' + ''.join(f'{p:>12}' for p in runs.PARTS))
    for r in rows:
        print(f'{r["run"]:<24}' +
              ''.join(f'{r["parts_ms"][p]:>12.2f}' for p in runs.PARTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        '--ann-file', default='data/quickstart/'
        'quickstart_val_split_1_videos.txt', help='list of videos; default: '
        'the built-in data (python tools/data/make_quickstart.py)')
    parser.add_argument('--videos', default='data/quickstart/videos')
    parser.add_argument(
        '--weights', help='checkpoint of MMAction2\'s MobileNetV2; give one: '
        'with random weights a frozen backbone is slow')
    parser.add_argument('--frames', type=int, default=8)
    parser.add_argument('--side', type=int, default=224)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--threads', type=int, default=os.cpu_count())
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--iterations', type=int, default=5)
    parser.add_argument('--test-videos', type=int, default=64,
                        help='a multiple of the batch')
    parser.add_argument(
        '--runs', nargs='*', default=RUNS, help='of: LSTM, light ConvLSTM and '
        'ConvLSTM, each alone and with ", frozen" or ", frozen bf16" (where '
        'the device has it) behind it; default: %(default)s')
    parser.add_argument('--json', help='file for all figures')
    args = parser.parse_args()
    for path in (args.ann_file, args.videos):
        if not Path(path).exists():
            parser.error(f'{path} is not there: make the built-in data with '
                         'python tools/data/make_quickstart.py, or name '
                         '--ann-file and --videos')
    if args.test_videos % args.batch or args.test_videos <= args.batch:
        parser.error('--test-videos must be a multiple of --batch, and more')
    data = runs.Data(args.ann_file, args.videos, args.frames, args.side,
                     args.batch, args.workers, args.threads, args.weights)
    workers = {}
    for name, model in models(data).items():
        if name in (STOCK, KEPT, *args.runs):
            workers[name] = Worker(
                runs.Run, dict(OMP_NUM_THREADS=str(args.threads)))
            workers[name].ask('build', model, data, name != STOCK)
    try:
        rows = measure(workers, args)
    finally:
        for worker in workers.values():
            worker.close()
    show(rows)
    if args.json:
        import torch
        device = torch.cuda.get_device_name() if torch.cuda.is_available(
        ) else 'CPU'
        Path(args.json).write_text(json.dumps(
            dict(device=device, torch=torch.__version__, **vars(args),
                 rows=rows), indent=1))


if __name__ == '__main__':
    main()
