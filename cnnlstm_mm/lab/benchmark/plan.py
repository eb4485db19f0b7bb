"""Runs of a list of configs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cnnlstm_mm.config import read_config
from cnnlstm_mm.resources import find_config
from cnnlstm_mm.run_identity import flatten

from .folds import GROUP, Fold, make_folds

KEYS = ('configs', 'splits', 'seeds', 'cfg_options')


@dataclass(frozen=True)
class BenchmarkList:
    """A file of configs/benchmarks."""

    name: str  # the file's, without its ending
    configs: list[Path]
    splits: list[int] = field(default_factory=list)  # [] for the config's own
    seeds: list[int] = field(default_factory=lambda: [0])  # a run for each
    cfg_options: dict[str, Any] = field(default_factory=dict)  # override those of all configs


@dataclass(frozen=True)
class Run:
    """One training and its test."""

    config: Path
    split: int | None  # None if the data set has one split only
    seed: int
    work_dir: Path
    cfg_options: dict[str, Any]
    length: int  # epochs, or iterations, of the training
    unit: str  # 'epoch' or 'iter', as in the names of its checkpoints
    fingerprint: str  # tells whether two runs ask for the same
    fold: Fold | None = None  # of a cross-validation

    @property
    def units(self) -> str:
        """What ``length`` counts."""
        return 'epochs' if self.unit == 'epoch' else 'iterations'

    @property
    def name(self) -> str:
        """Short, for the progress display and the summary."""
        split = '' if self.split is None else f' split {self.split}'
        fold = '' if self.fold is None else f' fold {self.fold.number}'
        return f'{self.config.stem}{split}{fold} seed {self.seed}'


def read_benchmark(path: Path) -> BenchmarkList:
    """Read a list file.

    Args:
        path: YAML with ``configs`` (paths, as seen from the current directory) and, if wanted,
            ``splits``, ``seeds`` and ``cfg_options``.

    Raises:
        FileNotFoundError: If the file or a config in it is missing.
        ValueError: For anything else in it; with the file and the key.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'expected a list of configs, got {path}: no such file; fix: name one of '
            'configs/benchmarks, for example'
        )
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not content.get('configs'):
        raise ValueError(f'{path}: expected a list "configs:" of config files, got none')
    unknown = sorted(set(content) - set(KEYS))
    if unknown:
        raise ValueError(f'{path}: expected the keys {", ".join(KEYS)}, got {unknown[0]!r}')
    try:
        configs = [Path(find_config(config)) for config in content['configs']]
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: {error}') from error
    twice = {str(c) for c in configs if configs.count(c) > 1}
    if twice:
        raise ValueError(f'{path}: expected each config once, got {min(twice)} twice')
    for key in ('splits', 'seeds'):
        numbers = content.get(key, [0])
        if not isinstance(numbers, list) or not numbers or not all(type(n) is int for n in numbers):
            raise ValueError(f'{path}: expected {key} to be a list of ints, got {numbers!r}')
    options = content.get('cfg_options') or {}
    if not isinstance(options, dict):
        raise ValueError(f'{path}: expected cfg_options to be "key: value", got {options!r}')
    # Nested ones become a.b=value, as on a command line.
    options = flatten(options) if options else {}
    return BenchmarkList(path.stem, **{**content, 'configs': configs, 'cfg_options': options})


def training_length(loop: dict[str, Any], config: Path) -> tuple[int, str]:
    """How long a ``train_cfg`` trains, and whether in 'epoch' or 'iter'.

    Raises:
        ValueError: If it does not say; with the config's name.
    """
    for key, unit in (('max_epochs', 'epoch'), ('max_iters', 'iter')):
        if loop.get(key):
            return loop[key], unit
    raise ValueError(
        f'{config}: expected train_cfg.max_epochs or max_iters, got {dict(loop)}; fix: set one'
    )


def plan_runs(
    benchmark: BenchmarkList,
    root: Path,
    splits: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    cfg_options: dict[str, Any] | None = None,
    folds: int = 0,
    groups: str = GROUP,
    flags: Sequence[str] = (),
) -> list[Run]:
    """List the runs: seeds outermost, so that each config soon has one.

    Args:
        benchmark: The list.
        root: Work directories are ROOT/LIST/CONFIG...
        splits: Replace those of the list.
        seeds: Replace those of the list.
        cfg_options: Added to those of the list.
        folds: Cross-validate on the training list in so many folds; 0 trains and tests as the
            config says.
        groups: Pattern of the groups that stay together, see :func:`group_of`.
        flags: Of the training command; runs with others are other runs.

    Raises:
        ValueError: If splits are asked of a config that has none, or a config does not say how
            long it trains.
    """
    chosen: list[int | None] = [*(splits or benchmark.splits)] or [None]
    options = {**benchmark.cfg_options, **(cfg_options or {})}
    texts, lengths = {}, {}
    parts: dict[Any, Sequence[Fold | None]] = {}
    for config in benchmark.configs:
        if chosen != [None] and 'split' not in read_config(config):
            raise ValueError(
                f'expected a config with splits for the splits {chosen}, got {config}; fix: leave '
                '"splits" out of its list'
            )
        for split in chosen:
            cfg = read_config(config, split, options)
            texts[config, split] = cfg.pretty_text
            lengths[config, split] = training_length(cfg.train_cfg, config)
            parts[config, split] = [None]
            if folds:
                out = root / benchmark.name / 'folds' / f'{config.stem}{_part(split)}'
                parts[config, split] = make_folds(cfg, config, out, folds, groups)
    runs = []
    for seed in benchmark.seeds if seeds is None else seeds:
        for (config, split), text in texts.items():
            for fold in parts[config, split]:
                name = f'{config.stem}{_part(split)}'
                asked = '\n'.join((text, f'seed = {seed}', *flags))
                if fold is not None:
                    name += f'_fold{fold.number}of{folds}'
                    asked += f'\nfold = {fold}'
                runs.append(
                    Run(
                        config,
                        split,
                        seed,
                        root / benchmark.name / f'{name}_seed{seed}',
                        options | (fold.cfg_options if fold else {}),
                        *lengths[config, split],
                        hashlib.sha256(asked.encode()).hexdigest()[:16],
                        fold,
                    )
                )
    return runs


def _part(split: int | None) -> str:
    return '' if split is None else f'_split{split}'
