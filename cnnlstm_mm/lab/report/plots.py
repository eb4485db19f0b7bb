"""Curves, confusion matrices and bars."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cnnlstm_mm.lab.figures import Figure

from .result import SCORES, Curves, RunResult
from .rows import Row


def plot_curves(runs: Sequence[tuple[RunResult, Curves]]) -> Figure:
    """Draw training loss and validation accuracy of the runs; one colour per config."""
    figure = Figure(figsize=(11, 4), layout='constrained')
    loss, accuracy = figure.subplots(1, 2)
    colours: dict[str, str] = {}
    for run, curves in runs:
        name = Path(run.config).stem
        first = name not in colours
        colour = colours.setdefault(name, f'C{len(colours) % 10}')
        style = dict(color=colour, label=name if first else None, linewidth=1.2)
        loss.plot(
            [line['step'] for line in curves.train],
            [line['loss'] for line in curves.train],
            **style,
        )
        accuracy.plot(
            [line['step'] for line in curves.val],
            [100 * next(line[key] for key in SCORES if key in line) for line in curves.val],
            marker='o',
            markersize=3,
            **style,
        )
    loss.set(xlabel='iteration', ylabel='training loss')
    several = any(SCORES[0] not in line for _, curves in runs for line in curves.val)
    metric = 'top-1 or mAP' if several else 'top-1'
    accuracy.set(xlabel='epoch', ylabel=f'validation {metric}, %', ylim=(0, 102))
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    accuracy.legend(loc='best', fontsize='small')
    return figure


def plot_confusion(title: str, matrices: Sequence[np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw the share of each true class's clips that got each answer.

    Args:
        title: Of the picture.
        matrices: Clips [true, answer]; added up.
        classes: Their names.
    """
    counts = np.sum(matrices, axis=0)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    many = len(classes) > 25
    side = 9 if many else 2.5 + 0.35 * len(classes)
    figure = Figure(figsize=(side, side), layout='constrained')
    axes = figure.subplots()
    axes.imshow(shares, vmin=0, vmax=1, cmap='Blues')
    axes.set(title=title, xlabel='answer', ylabel='class')
    if not many:
        ticks = range(len(classes))
        axes.set_xticks(ticks, classes, rotation=90, fontsize='small')
        axes.set_yticks(ticks, classes, fontsize='small')
        for y, x in zip(*np.nonzero(counts)):
            axes.text(
                x,
                y,
                f'{100 * shares[y, x]:.0f}',
                ha='center',
                va='center',
                fontsize='x-small',
                color='white' if shares[y, x] > 0.6 else 'black',
            )
    return figure


def plot_classes(rows: Sequence[Row]) -> Figure | None:
    """Draw each model's accuracy in each class, averaged over its runs of one data set.

    Returns:
        None if no run has predictions.
    """
    bars: dict[str, dict[str, float]] = {}
    for row in rows:
        runs = [run for run in row.runs if run.per_class]
        if runs:
            name = Path(row.first.config).stem
            bars[name] = {
                c: float(np.mean([r.per_class[c] for r in runs if c in r.per_class]))
                for c in {c: None for r in runs for c in r.per_class}
            }
    if not bars:
        return None
    names = list({c: None for values in bars.values() for c in values})
    # Worst first, by the mean over models: that is what one looks for.
    names.sort(key=lambda c: np.mean([b.get(c, 0) for b in bars.values()]))
    height = 0.8 / len(bars)
    size = (8, 1 + 0.28 * len(names) * max(1, len(bars) / 3))
    figure = Figure(figsize=size, layout='constrained')
    axes = figure.subplots()
    for k, (name, values) in enumerate(bars.items()):
        axes.barh(
            [y + k * height for y in range(len(names))],
            [100 * values.get(c, 0) for c in names],
            height,
            label=name,
        )
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(names))], names, fontsize='small')
    several = any(run.mean_ap is not None for row in rows for run in row.runs)
    metric = 'average precision of' if several else 'right answers in'
    axes.set(xlabel=f'{metric} the class, %', xlim=(0, 100))
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis='x')
    axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.08), ncols=2, fontsize='small')
    return figure


def all_pictures(
    runs: Sequence[tuple[RunResult, Curves]], tables: dict[str, list[Row]]
) -> Iterator[tuple[str, Figure]]:
    """File name without ending, and figure, of each picture of a report."""
    for number, (data, rows) in enumerate(tables.items(), 1):
        members = [(run, curves) for run, curves in runs if run.data == data]
        yield f'curves_{number}', plot_curves(members)
        bars = plot_classes(rows)
        if bars is not None:
            yield f'classes_{number}', bars
        for row in rows:
            found = [curves for run, curves in members if run in row.runs and curves.classes]
            matrices = [curves.confusion for curves in found if curves.confusion is not None]
            if matrices:
                name = Path(row.first.config).stem
                yield f'confusion_{name}', plot_confusion(name, matrices, found[0].classes)
