"""Markdown tables and model-zoo metafiles of runs and rows."""

import difflib
import os.path
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from cnnlstm_mm.lab.markdown import markdown_table
from cnnlstm_mm.storage import write_text

from .result import RunResult
from .rows import Row

BEGIN = '<!-- results: written by tools/report.py, do not edit -->'
END = '<!-- end of results -->'
COLUMNS = ['backbone', 'neck', 'pretrain', 'frames', 'resolution', 'top-1', 'top-5', 'mean class']
COLUMNS += ['protocol', 'FLOPs', 'params', 'runs', 'config']


def runs_table(runs: Sequence[RunResult], folders: Sequence[Path] | None = None) -> str:
    """One line a run, for the terminal; unfinished ones say so.

    Args:
        runs: The runs.
        folders: Their work directories, to print the checkpoints' paths; by default their names
            alone.
    """
    heads = 'run,neck,input,epochs,loss,top-1 (test),training,checkpoint,note'
    rows = [heads.split(',')]
    for k, run in enumerate(runs):
        folder = Path(run.work_dir) if folders is None else folders[k]
        whole = run.epochs >= run.max_epochs
        rows.append(
            [
                run.work_dir,
                run.neck,
                f'{run.frames}, {run.resolution}',
                str(run.epochs) if whole else run.state.replace(' epochs', ''),
                '-' if run.loss is None else f'{run.loss:.3f}',
                _tested(run),
                f'{run.seconds:.0f} s',
                str(folder / run.checkpoint) if run.checkpoint else '-',
                '; '.join(run.notes),
            ]
        )
    if not any(row[-1] for row in rows[1:]):
        rows = [row[:-1] for row in rows]
    return markdown_table(rows)


def _tested(run: RunResult) -> str:
    if run.top1 is not None:
        return f'{100 * run.top1:.1f} %'
    return 'not tested' if run.mean_ap is None else f'mAP {100 * run.mean_ap:.1f} %'


def results_tables(
    tables: dict[str, list[Row]],
    planned: Sequence[dict] = (),
    files: bool = True,
    folder: Path = Path(),
) -> str:
    """The results, in MMAction2's columns: a Markdown table for each data set.

    Args:
        tables: Of :func:`group_runs`.
        planned: ``data``, ``configs`` and ``command`` of the lists that are not yet run.
        files: With the columns checkpoint and log.
        folder: Where the links to configs start.
    """
    heads = [*COLUMNS, *(['checkpoint', 'log'] if files else [])]
    parts = []
    for data, rows in tables.items():
        lines = [heads, *(_cells(row, files, folder) for row in rows)]
        if any(run.mean_ap is not None for row in rows for run in row.runs):
            column = ['mAP', *(_percent(row, 'mean_ap') for row in rows)]
            place = heads.index('top-1')
            lines = [[*line[:place], cell, *line[place:]] for line, cell in zip(lines, column)]
        if any(row.notes for row in rows):
            notes = ['note', *('; '.join(row.notes) for row in rows)]
            lines = [[*line, note] for line, note in zip(lines, notes)]
        parts.append(f'**{data}**\n\n{markdown_table(lines, padded=False)}')
    if planned:
        lines = [['data', 'models', 'top-1', 'command']]
        for item in planned:
            models = _models(item['configs'])
            lines.append([item['data'], models, 'not yet run', f'`{item["command"]}`'])
        parts.append(markdown_table(lines, padded=False))
    return '\n\n'.join(parts) + '\n'


def _models(names: list[str]) -> str:
    if len(names) > 5:
        return f'the {len(names)} configs of the list'
    return ', '.join(f'`{name}`' for name in names)


def _cells(row: Row, files: bool, folder: Path) -> list[str]:
    run = row.first
    cells = [run.backbone, run.neck, run.pretrain, run.frames, run.resolution]
    cells += [_percent(row, key) for key in ('top1', 'top5', 'mean_class')]
    cells += [run.protocol, _count(run.flops), _count(run.params), row.what]
    link = Path(os.path.relpath(run.config, folder)).as_posix()
    cells.append(f'[{Path(run.config).stem}]({link})')
    if files:
        members = row.runs or row.unfinished
        for name in ('checkpoint', 'log'):
            cells.append('<br>'.join(f'{m.work_dir}/{getattr(m, name)}' for m in members))
    return cells


def _percent(row: Row, key: str) -> str:
    average, spread = row.average(key)
    if average is None:
        return '-'
    return f'{100 * average:.1f}' + ('' if spread is None else f' ± {100 * spread:.1f}')


def _count(number: int | None) -> str:
    if number is None:
        return '-'
    for size, unit in ((1e9, 'G'), (1e6, 'M')):
        if number >= size:
            return f'{number / size:.3g} {unit}'
    return f'{number / 1e3:.3g} k'


def write_readme(path: Path, text: str) -> None:
    """Put the tables between the two markers of a Markdown file.

    Raises:
        ValueError: If a marker is missing.
    """
    write_text(path, _merged(path, text))


def check_readme(path: Path, text: str) -> str:
    """The difference of the tables between the two markers; '' if they are the same to the byte.

    Raises:
        ValueError: If a marker is missing.
    """
    old, new = path.read_text(), _merged(path, text)
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), str(path), 'report.py', lineterm=''
    )
    return '\n'.join(lines) or ('' if old == new else f'{path}: line ends differ')


def _merged(path: Path, text: str) -> str:
    content = path.read_text()
    counts = content.count(BEGIN), content.count(END)
    if counts != (1, 1) or content.index(BEGIN) > content.index(END):
        raise ValueError(
            f'{path}: expected these two lines, once and in this order:\n{BEGIN}\n{END}'
        )
    before, rest = content.split(BEGIN)
    return f'{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}'


def write_metafile(path: Path, tables: dict[str, list[Row]]) -> None:
    """Write the finished rows as a metafile.yml, and model-index.yml beside.

    Args:
        path: The metafile, in the form of MMAction2's model zoo.
        tables: Of :func:`group_runs`.
    """
    models = [_model(data, row) for data, rows in tables.items() for row in rows if row.runs]
    write_text(
        path,
        yaml.safe_dump(
            dict(Collections=[dict(Name='cnnlstm_mm', README='README.md')], Models=models),
            sort_keys=False,
            allow_unicode=True,
        ),
    )
    write_text(path.with_name('model-index.yml'), yaml.safe_dump(dict(Import=[path.name])))


def _model(data: str, row: Row) -> dict[str, Any]:
    run = row.first
    metrics = {}
    keys = {'Top 1': 'top1', 'Top 5': 'top5', 'Mean Class': 'mean_class', 'mAP': 'mean_ap'}
    for name, key in keys.items():
        average, spread = row.average(key)
        if average is not None:
            metrics[_metric(name)] = round(100 * average, 2)
        if spread is not None:
            metrics[f'{_metric(name)} (spread)'] = round(100 * spread, 2)
    facts = {
        'Architecture': run.backbone,
        'Neck': run.neck,
        'Pretrained': run.pretrain,
        'Frames': run.frames,
        'Resolution': run.resolution,
        'Epochs': run.max_epochs,
        'Training Data': data,
        'FLOPs': run.flops,
        'Parameters': run.params,
        'Runs': row.what,
        'Notes': row.notes,
    }
    return {
        'Name': Path(run.config).stem,
        'Config': run.config,
        'In Collection': 'cnnlstm_mm',
        'Metadata': {k: v for k, v in facts.items() if v not in (None, [])},
        'Results': [dict(Task='Action Recognition', Dataset=data, Metrics=metrics)],
        'Weights': [f'{m.work_dir}/{m.checkpoint}' for m in row.runs],
    }


def _metric(name: str) -> str:
    return name if name == 'mAP' else f'{name} Accuracy'
