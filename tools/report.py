"""Collect runs into a table and draw their curves.

    python tools/report.py WORK_DIR [WORK_DIR ...] [--plot curves.png]
"""
import argparse
import json
import re
from pathlib import Path
from typing import Any, Dict, List

import matplotlib
from mmengine.config import Config

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

COLUMNS = ('run', 'neck', 'input', 'epochs', 'loss', 'top-1 (test)',
           'training', 'checkpoint')


def read_run(work_dir: Path) -> Dict[str, Any]:
    """Read what a run left in its work directory.

    Args:
        work_dir (Path): The directory that tools/train.py wrote.

    Returns:
        dict: ``name``, ``cfg`` (as the newest run wrote it), ``train`` (a
        dict for each logged iteration), ``val`` (a dict for each epoch),
        ``test`` (the newest test's metrics, or None) and ``checkpoint``.

    Raises:
        FileNotFoundError: If there is no run in ``work_dir``.
    """
    logs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    configs = sorted(work_dir.glob('*.py'), key=lambda p: p.stat().st_mtime)
    if not logs or not configs:
        raise FileNotFoundError(
            f'{work_dir} holds no run: name a work directory of '
            'tools/train.py, such as work_dirs/CONFIG_NAME.')
    train: Dict[int, dict] = {}
    val: Dict[int, dict] = {}
    for log in logs:
        for line in map(json.loads, log.read_text().splitlines()):
            if 'loss' in line:
                train[line['step']] = line
            elif 'acc/top1' in line and line['step'] > 0:
                val[line['step']] = line
    tests = [json.loads(path.read_text())
             for path in sorted(work_dir.glob('*/*.json'))]
    tests = [metrics for metrics in tests if 'acc/top1' in metrics]
    last = work_dir / 'last_checkpoint'
    return dict(
        name=work_dir.name,
        cfg=Config.fromfile(configs[-1], import_custom_modules=False),
        train=[train[step] for step in sorted(train)],
        val=[val[step] for step in sorted(val)],
        test=tests[-1] if tests else None,
        checkpoint=last.read_text().strip() if last.is_file() else None)


def input_size(pipeline: List[dict]) -> str:
    """Say what a pipeline feeds: clips x frames x height x width."""
    clips = frames = size = '?'
    for transform in pipeline:
        frames = transform.get('clip_len', frames)
        clips = transform.get('num_clips', 1 if clips == '?' else clips)
        size = transform.get('crop_size', transform.get('scale', size))
    height, width = size[::-1] if isinstance(size, (list, tuple)) else (size,
                                                                        size)
    return f'{clips} x {frames} x {height} x {width}'


def row(run: Dict[str, Any]) -> List[str]:
    """Make the table row of a run, as strings in the order of COLUMNS."""
    cfg, steps = run['cfg'], run['train']
    seconds = sum(line['time'] * (line['step'] - before['step'])
                  for before, line in zip([dict(step=0), *steps], steps))
    saved = re.search(r'epoch_(\d+)', Path(run['checkpoint'] or '').name)
    done, wanted = int(saved[1]) if saved else 0, cfg.train_cfg.max_epochs
    neck = cfg.model.get('neck') or dict(type='none: frames averaged')
    return [
        run['name'], neck['type'],
        input_size(cfg.test_dataloader.dataset.pipeline),
        str(done) if done >= wanted else f'{done} of {wanted}, unfinished',
        f'{steps[-1]["loss"]:.3f}' if steps else '-',
        f'{100 * run["test"]["acc/top1"]:.1f} %' if run['test'] else
        'not tested', f'{seconds:.0f} s', run['checkpoint'] or '-'
    ]


def plot(runs: List[Dict[str, Any]], path: Path) -> None:
    """Draw training loss and validation accuracy of the runs.

    Args:
        runs (list[dict]): See :func:`read_run`.
        path (Path): The picture to write.
    """
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(11, 4))
    for run in runs:
        loss.plot([line['step'] for line in run['train']],
                  [line['loss'] for line in run['train']], label=run['name'])
        accuracy.plot([line['step'] for line in run['val']],
                      [100 * line['acc/top1'] for line in run['val']],
                      marker='o', label=run['name'])
    loss.set(xlabel='iteration', ylabel='training loss')
    accuracy.set(xlabel='epoch', ylabel='validation top-1, %', ylim=(0, 102))
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    accuracy.legend(loc='best')
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table and write the picture."""
    parser = argparse.ArgumentParser(
        description='Collect runs into a table and draw their curves')
    parser.add_argument('work_dirs', nargs='+', type=Path, metavar='WORK_DIR')
    parser.add_argument('--plot', type=Path, help='write the curves here')
    args = parser.parse_args()
    runs = [read_run(work_dir) for work_dir in args.work_dirs]
    rows = [COLUMNS, *map(row, runs)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ['-' * width for width in widths])
    for cells in rows:
        padded = (f'{c:{width}}' for c, width in zip(cells, widths))
        print(f'| {" | ".join(padded)} |')
    if args.plot:
        plot(runs, args.plot)
        print(f'Curves: {args.plot}')


if __name__ == '__main__':
    main()
