"""Runs of the same model, averaged over splits and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from .read import LEFT_OUT
from .result import RunResult


@dataclass
class Row:
    """A line of the results table.

    Attributes:
        runs: Those that it averages, all of one model.
        unfinished: Those that it leaves out.
        other: Lists and weights, by name, that are not those of the row before it.
    """

    runs: list[RunResult]
    unfinished: list[RunResult]
    other: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """Those of its runs, and what sets them apart from the row before."""
        differing = [f'{", ".join(self.other)} with other contents'] if self.other else []
        return [*self.first.notes, *differing]

    @property
    def first(self) -> RunResult:
        """A run to read what all have in common."""
        return (self.runs or self.unfinished)[0]

    def average(self, key: str) -> tuple[float | None, float | None]:
        """Mean over splits and seeds, and spread over seeds.

        Args:
            key: 'top1', 'top5', 'mean_class' or 'mean_ap'.

        Returns:
            The mean of the splits' means over seeds; and the standard deviation (n - 1) of the
            seeds' means over splits, None with fewer than two seeds that have all splits.
        """
        runs = [run for run in self.runs if getattr(run, key) is not None]
        if not runs:
            return None, None
        splits: dict[int, list[float]] = {}
        seeds: dict[int | None, list[float]] = {}
        for run in runs:
            splits.setdefault(run.split, []).append(getattr(run, key))
            seeds.setdefault(run.seed, []).append(getattr(run, key))
        whole = [
            mean(values)
            for seed, values in seeds.items()
            if seed is not None and len(values) == len(splits)
        ]
        return (mean(map(mean, splits.values())), stdev(whole) if len(whole) > 1 else None)

    @property
    def what(self) -> str:
        """Which runs these are: '3 seeds', 'splits 1, 2, 3', ..."""
        if not self.runs:
            return (
                self.unfinished[0].state
                if len(self.unfinished) == 1
                else f'{len(self.unfinished)} runs, unfinished'
            )
        seeds = {run.seed for run in self.runs}
        splits = sorted({run.split for run in self.runs})
        words = f'{len(seeds)} seed{"s" * (len(seeds) > 1)}'
        if None in seeds:
            words = f'{len(self.runs)} run{"s" * (len(self.runs) > 1)}'
        if splits != [1] or self.first.data in ('UCF101', 'HMDB51'):
            words += f', split{"s" * (len(splits) > 1)} {", ".join(map(str, splits))}'
        if self.unfinished:
            words += f', {len(self.unfinished)} more unfinished'
        return words


def group_runs(runs: Sequence[RunResult]) -> dict[str, list[Row]]:
    """Bring together what may be averaged: rows by data set, in the order of the runs.

    Runs of one config that differ in anything but seed and split (a subset, another version of
    the config) stay apart, and so do those whose lists or weights of the same split changed.
    """
    groups: dict[tuple, list[RunResult]] = {}
    for run in runs:
        # An unfinished run may not have been tested, and a file may be damaged: that makes no
        # other model.
        notes = tuple(n for n in run.notes if not n.startswith('tested:') and LEFT_OUT not in n)
        key = (run.data, run.config, run.max_epochs, run.recipe, notes)
        groups.setdefault(key, []).append(run)
    tables: dict[str, list[Row]] = {}
    for (data, *_), members in groups.items():
        for part, other in _of_same_files(members):
            tables.setdefault(data, []).append(
                Row(
                    [run for run in part if run.finished],
                    [run for run in part if not run.finished],
                    other,
                )
            )
    return tables


def _of_same_files(runs: list[RunResult]) -> list[tuple[list[RunResult], tuple[str, ...]]]:
    """Part runs so that those of one split have the same lists and weights.

    Returns:
        The parts; after the first with the names of what is not that of the first.
    """
    parts: list[tuple[list[RunResult], tuple[str, ...]]] = []
    for run in runs:
        other: tuple[str, ...] = ()
        for part, _ in parts:
            twin = next((one for one in part if one.split == run.split), run)
            if twin.made_of == run.made_of:
                part.append(run)
                break
            old, new = twin.made_of or {}, run.made_of or {}
            other = other or tuple(
                name for name in {**old, **new} if old.get(name) != new.get(name)
            )
        else:
            parts.append(([run], other))
    return parts
