"""The quickstart's training with --amp, and its accuracy; with --ddp one process over NCCL."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, arguments, write

CONFIG = 'configs/mobilenet_convlstm_quickstart.py'
WANTED = 0.95  # accuracy of the whole training


def main() -> None:
    args = arguments(__doc__, ddp=dict(action='store_true', help='one epoch under torchrun'))
    with tempfile.TemporaryDirectory() as folder:
        data, work_dir = Path(folder) / 'quickstart', Path(folder) / 'run'
        few = ['--train-per-class', '4', '--val-per-class', '2'] if args.rehearse else []
        if args.ddp and not args.rehearse:
            few = ['--train-per-class', '32', '--val-per-class', '8']
        call(sys.executable, 'tools/data/make_quickstart.py', '--out', data, *few)
        options = [
            f'data_root={data}',
            *(f'{k}_dataloader.num_workers=2' for k in ('train', 'val')),
        ]
        for split in ('train', 'val', 'test'):
            of = 'train' if split == 'train' else 'val'
            dataset = f'{split}_dataloader.dataset'
            options.append(f'{dataset}.ann_file={data}/quickstart_{of}_split_1_videos.txt')
            options.append(f'{dataset}.data_prefix.video={data}/videos')
        if args.ddp or args.rehearse:
            options += ['train_cfg.max_epochs=1', 'param_scheduler=None']
        flags = ['--amp', '--work-dir', work_dir, '--cfg-options', *options]
        start = time.perf_counter()
        if args.ddp:
            call('bash', 'tools/dist_train.sh', CONFIG, '1', *flags)
        else:
            call(sys.executable, 'tools/train.py', CONFIG, *flags)
        taken = time.perf_counter() - start
        accuracies = [
            row['acc/top1']
            for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
            for row in map(json.loads, path.read_text().splitlines())
            if 'acc/top1' in row
        ]
    write(args.json, dict(seconds=taken, accuracies=accuracies))
    if not accuracies:
        raise SystemExit('expected an accuracy in scalars.json, got none')
    if not (args.ddp or args.rehearse) and max(accuracies) < WANTED:
        raise SystemExit(f'expected an accuracy of {WANTED}, got {max(accuracies)}')


def call(*command: object) -> None:
    """Run a tool of this checkout."""
    subprocess.run(
        [str(c) for c in command],
        cwd=ROOT,
        check=True,
        env={**os.environ, 'PYTHON': sys.executable, 'PORT': '29533'},
    )


if __name__ == '__main__':
    main()
