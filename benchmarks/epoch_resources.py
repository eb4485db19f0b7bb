"""Memory, open files, threads and processes of a training, epoch by epoch.

The training of kill_and_resume_config.py (workers, validation, checkpoints)
runs once with persistent workers and once with new workers in every epoch; its
resources are read from /proc after each epoch.

    python benchmarks/epoch_resources.py --epochs 10
"""

import argparse
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from kill_and_resume import CONFIG, make_data
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope

import cnnlstm_mm  # noqa: F401
from cnnlstm_mm.engine.launch import build_runner


def status_of(pid: Any) -> dict[str, str]:
    """Fields of /proc/PID/status."""
    return dict(line.split(':', 1) for line in Path(f'/proc/{pid}/status').read_text().splitlines())


def held() -> dict[str, Any]:
    """Resources of this process and its children."""
    status = status_of('self')
    children = [
        int(pid)
        for task in Path('/proc/self/task').iterdir()
        for pid in (task / 'children').read_text().split()
    ]
    return dict(
        memory_mb=int(status['VmRSS'].split()[0]) / 1024,
        peak_mb=int(status['VmHWM'].split()[0]) / 1024,
        files=len(os.listdir('/proc/self/fd')),
        threads=int(status['Threads']),
        processes=len(children),
        worker_mb=sum(int(status_of(pid)['VmRSS'].split()[0]) for pid in children) / 1024,
        worker_files=sum(len(os.listdir(f'/proc/{pid}/fd')) for pid in children),
    )


class ResourceHook(Hook):
    """Record the resources at the end of each epoch."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []

    def before_train_epoch(self, runner: Any) -> None:
        if runner.epoch:  # after the validation of the epoch before
            self._note()

    def after_train(self, runner: Any) -> None:
        self._note()

    def _note(self) -> None:
        gc.collect()
        self.epochs.append(held())


def measure(data: Path, work_dir: Path, epochs: int, persistent: bool) -> list[dict[str, Any]]:
    """Train; return the resources after each epoch."""
    cfg = Config.fromfile(CONFIG)
    init_default_scope('mmaction')
    cfg.merge_from_dict(dict(work_dir=str(work_dir), log_level='ERROR', randomness=dict(seed=0)))
    cfg.train_cfg.max_epochs = epochs
    for loader, mode in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
        loader.persistent_workers = persistent
        loader.dataset.ann_file = str(data / f'quickstart_{mode}_split_1_videos.txt')
        loader.dataset.data_prefix.video = str(data / 'videos')
    hook = ResourceHook()
    runner = build_runner(cfg, ['train', 'val'])
    runner.register_hook(hook)
    runner.train()
    return hook.epochs


def in_a_process(file: Path, *args: Any) -> list[dict[str, Any]]:
    """Run :func:`measure` in a forked process."""
    child = os.fork()
    if not child:
        try:
            file.write_text(json.dumps(measure(*args)))
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit('the training failed')
    return json.loads(file.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/epoch_resources'))
    parser.add_argument('--json', type=Path, help='file for all figures')
    args = parser.parse_args()
    root = args.work_dir.resolve()
    make_data(root / 'data')
    found = {}
    for name in ('persistent', 'fresh'):
        found[name] = in_a_process(
            root / f'{name}.json', root / 'data', root / name, args.epochs, name == 'persistent'
        )
        print(
            f'\nworkers: {name}\n| epoch | '
            + ' | '.join(found[name][0])
            + ' |\n'
            + '| --- ' * (1 + len(found[name][0]))
            + '|'
        )
        for epoch, row in enumerate(found[name], start=1):
            print(f'| {epoch} | ' + ' | '.join(f'{value:.0f}' for value in row.values()) + ' |')
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
