"""Cross-validation on a training list, by groups of clips that belong together."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from mmengine.config import Config

from cnnlstm_mm.config import datasets_of, list_path, read_config, rows_of
from cnnlstm_mm.datasets.annotation_list import Row
from cnnlstm_mm.engine.first_training import FIRST_OPTIONS, STARTS_FROM
from cnnlstm_mm.storage import write_text
from cnnlstm_mm.text import truncate_list

# UCF101's v_Archery_g08_c01, else the number at the end of the name: that of a scene or person.
GROUP = r'_g(\d+)_|(\d+)$'


class Fold(NamedTuple):
    """A part of the training list to test on, and the overrides that train on the others."""

    number: int  # from 1
    clips: int  # to test on
    cfg_options: dict[str, Any]


def group_of(path: str, pattern: str = GROUP) -> str:
    """Group of a clip: what ``pattern`` finds in its name without the ending, else the name."""
    name = Path(path).stem
    found = re.search(pattern, name)
    return next(filter(None, found.groups()), found[0]) if found else name


def part_rows(rows: Sequence[Row], folds: int, pattern: str = GROUP) -> list[list[Row]]:
    """Part the rows into folds of about equal size; no group is in two.

    Raises:
        ValueError: For fewer groups than folds.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row.path, pattern), []).append(row)
    if not 2 <= folds <= len(groups):
        raise ValueError(
            f'expected from 2 to {len(groups)} folds for {len(groups)} groups of clips '
            f'({truncate_list(sorted(groups))}), got {folds}; fix: --folds, or --groups REGEX, '
            'which finds the group in the name of a clip'
        )
    parts: list[list[Row]] = [[] for _ in range(folds)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), name)):
        min(parts, key=len).extend(groups[name])
    return parts


def make_folds(
    cfg: Config, config: Path, out: Path, folds: int, pattern: str = GROUP
) -> list[Fold]:
    """Part a config's training list into folds, on which its first training is held back, too.

    Where it reads stored features, rows of the stored training list take the place of lists.

    Args:
        cfg: The config.
        config: Its path, for messages.
        out: Folder of the lists.
        folds: Number of folds K.
        pattern: See :func:`group_of`.

    Raises:
        FileNotFoundError, ValueError: If the training list is missing, cannot be read, or is not
            one list.
    """
    found = datasets_of(cfg, 'train')
    rows = rows_of(found[0]) if len(found) == 1 else None
    if rows is None:
        raise ValueError(
            f'{config}: expected one training list of videos for --folds, got '
            f'{", ".join(str(d.get("type")) for d in found) or "none"}; fix: leave it out'
        )
    dataset = found[0]
    first = _first_config(cfg, config)
    again = first is not None and list_path(dataset) in map(list_path, datasets_of(first, 'train'))
    result = []
    for number, part in enumerate(part_rows(rows, folds, pattern), start=1):
        name = f'{Path(list_path(dataset)).stem}_fold{number}of{folds}'
        options = _options(cfg, dataset, rows, part, out / name)
        if first is not None and again:  # the first of two trainings must not see the part either
            more = _options(first, dataset, rows, part, out / name)
            options |= {f'{FIRST_OPTIONS}.{key}': value for key, value in more.items()}
        result.append(Fold(number, len(part), options))
    return result


def _first_config(cfg: Config, config: Path) -> Config | None:
    """The config that ``starts_from`` names, unless weights are given in its place."""
    if not cfg.get(STARTS_FROM) or cfg.get('load_from'):
        return None
    return read_config(config.parent / cfg[STARTS_FROM])


def _options(
    cfg: Config, dataset: dict[str, Any], rows: Sequence[Row], part: Sequence[Row], out: Path
) -> dict[str, Any]:
    """Overrides that train without ``part`` and test on it; lists begin with OUT."""
    tested = {row.line for row in part}
    others = {row.line for row in rows} - tested
    if cfg.get('features'):
        return {
            f'feature_rows.{mode}': [k for k, row in enumerate(rows) if row.line not in left_out]
            for mode, left_out in (('train', tested), ('test', others))
        }
    lines = Path(list_path(dataset)).read_text(encoding='utf-8-sig').splitlines()
    options: dict[str, Any] = {}
    for mode, left_out in (('train', tested), ('val', others), ('test', others)):
        path = out.with_name(f'{out.name}_{"train" if mode == "train" else "val"}.txt')
        if mode != 'test':
            kept = [line for k, line in enumerate(lines, start=1) if k not in left_out]
            write_text(path, '\n'.join(kept) + '\n')
        key = _key(cfg, mode)
        options[f'{key}.ann_file'] = str(path)
        if mode != 'train':
            for name, folder in (dataset.get('data_prefix') or {}).items():
                options[f'{key}.data_prefix.{name}'] = folder
    names = Path(list_path(dataset)).with_name('label_map.txt')
    if names.is_file() and not dataset.get('label_file'):
        write_text(out.with_name(names.name), names.read_text(encoding='utf-8'))
    return options


def fold_table(results: Sequence[tuple[str, int, Fold, float]]) -> list[dict[str, Any]]:
    """Results of each config over all clips of its folds.

    Args:
        results: Name of the config, seed, fold and top-1 share of each finished run.

    Returns:
        For each config ``config``, ``clips``, ``folds`` and ``seeds``; ``top1``, the mean over
        seeds of the share of all clips; ``spread``, its standard deviation (n - 1) over seeds, None
        for one. Seeds that miss a fold are left out.
    """
    rows = []
    for config in dict.fromkeys(name for name, *_ in results):
        seeds: dict[int, dict[int, tuple[int, float]]] = {}
        for name, seed, fold, top1 in results:
            if name == config:
                seeds.setdefault(seed, {})[fold.number] = (fold.clips, fold.clips * top1)
        folds = max(len(found) for found in seeds.values())
        whole = [list(found.values()) for found in seeds.values() if len(found) == folds]
        clips = sum(count for count, _ in whole[0])
        shares = [sum(right for _, right in found) / clips for found in whole]
        spread = stdev(shares) if len(shares) > 1 else None
        rows.append(
            dict(
                config=config,
                clips=clips,
                folds=folds,
                seeds=len(shares),
                top1=mean(shares),
                spread=spread,
            )
        )
    return rows


def _key(cfg: Config, mode: str) -> str:
    """Dotted place of the innermost data set of a loader."""
    key, node = f'{mode}_dataloader.dataset', cfg[f'{mode}_dataloader'].dataset
    while 'dataset' in node:
        key, node = f'{key}.dataset', node.dataset
    return key
