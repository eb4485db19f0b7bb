"""Classes that a flip turns into each other, found by their names."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from cnnlstm_mm.config import class_names_of, datasets_of, read_lines
from cnnlstm_mm.text import truncate_list

FROM_NAMES = 'from_names'
ROTATION = ('clockwise', 'counterclockwise')
SIDES = dict(
    horizontal=(
        ('left', 'right'),
        ('leftward', 'rightward'),
        ('leftwards', 'rightwards'),
        ROTATION,
    ),
    vertical=(('up', 'down'), ('upward', 'downward'), ('upwards', 'downwards'), ROTATION),
)
# 'Counter Clockwise', 'anti-clockwise', 'ccw' ...
SPELLINGS = (
    (r'\b(counter|anti) ?clock ?wise\b', 'counterclockwise'),
    (r'\bclock wise\b', 'clockwise'),
    (r'\bccw\b', 'counterclockwise'),
    (r'\bcw\b', 'clockwise'),
)


def flip_label_map(names: Sequence[str], direction: str = 'horizontal') -> dict[int, int]:
    """Pair the classes whose names differ in their sides alone.

    'Swiping Left' and 'swipe_left', 'turnLeft', 'from left to right', clockwise and
    counterclockwise in its spellings; up and down for a vertical flip.

    Args:
        names: Class names, in the order of their numbers.
        direction: Of the flip, 'horizontal' or 'vertical'.

    Returns:
        Both classes of each pair, as ``Flip(flip_label_map=...)`` takes them.
    """
    words = [_words(name) for name in names]
    number = {name: k for k, name in enumerate(words)}
    mirrored = [number.get(_mirrored(name, direction)) for name in words]
    return {k: other for k, other in enumerate(mirrored) if other not in (None, k)}


def unpaired(names: Sequence[str], direction: str = 'horizontal') -> list[str]:
    """Names with a side whose mirror image is missing among them, such as 'turn left' alone."""
    words = [_words(name) for name in names]
    return [name for name, plain in zip(names, words) if _mirrored(plain, direction) not in words]


def class_names(cfg: Config) -> list[str]:
    """Class names of the training data set, else lines of ``label_map.txt`` beside it, else []."""
    given = list(filter(None, map(class_names_of, datasets_of(cfg, 'train'))))
    if given and not isinstance(given[0], str):
        return list(given[0])
    folders = [cfg.get('data_root')]
    for dataset in datasets_of(cfg, 'train'):
        root = dataset.get('data_root') or ''
        folders += [root, Path(root, dataset.get('ann_file') or '').parent]
    named = [*given, cfg.get('label_map'), cfg.get('label_file')]
    files = [Path(name) for name in named if isinstance(name, str)]
    files += [Path(folder) / 'label_map.txt' for folder in folders if folder]
    file = next((file for file in files if file.is_file()), None)
    return read_lines(file) if file else []


def flips_of(cfg: Config, mode: str = 'train') -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Data set and config of each Flip in the pipelines of a mode."""
    for dataset in datasets_of(cfg, mode):
        for transform in dataset.get('pipeline') or ():
            if str(transform.get('type')).split('.')[-1] == 'Flip':
                yield dataset, transform


def resolve_flips(cfg: Config) -> None:
    """Replace ``flip_label_map='from_names'`` by the pairs of the class names.

    Raises:
        ValueError: Without class names or pairs, or for lists of several labels, which Flip does
            not map.
    """
    names = class_names(cfg)
    for mode in ('train', 'val', 'test'):
        for dataset, flip in flips_of(cfg, mode):
            if flip.get('flip_label_map') != FROM_NAMES:
                continue
            direction = flip.get('direction', 'horizontal')
            pairs = flip_label_map(names, direction)
            if dataset.get('multi_class'):
                raise ValueError(
                    "flip_label_map='from_names': expected one label for each video, got "
                    'multi_class=True; fix: flip_ratio=0'
                )
            if not pairs:
                raise ValueError(
                    f"flip_label_map='from_names': expected class names that differ in left and "
                    f'right, got {truncate_list(names) if names else "no label_map.txt"}; fix: '
                    'name the classes in label_map.txt in data_root, or drop the option'
                )
            flip['flip_label_map'] = pairs
            alone = unpaired(names, direction)
            if alone:
                print_log(
                    f'Flip: no class is the mirror image of {truncate_list(alone)}, which keep '
                    'their labels',
                    'current',
                    30,
                )


def flip_warning(cfg: Config) -> str:
    """What a plain Flip does to classes that are each other's mirror images; '' if nothing."""
    names = class_names(cfg)
    for _, flip in flips_of(cfg):
        direction = flip.get('direction', 'horizontal')
        pairs = flip_label_map(names, direction)
        if flip.get('flip_ratio', 0.5) and not flip.get('flip_label_map') and pairs:
            told = [f'{names[k]} and {names[other]}' for k, other in pairs.items() if k < other]
            return (
                f'Flip turns classes into each other and keeps their labels: '
                f"{truncate_list(told)}; fix: flip_label_map='from_names' in Flip, or flip_ratio=0"
            )
    return ''


def _words(name: str) -> str:
    """Lower case, parted by blanks, one spelling for each rotation."""
    name = re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)  # turnLeft
    name = ' '.join(re.findall(r'[^\W_]+', name.lower()))
    for pattern, word in SPELLINGS:
        name = re.sub(pattern, word, name)
    return name


def _mirrored(words: str, direction: str) -> str:
    sides = SIDES[direction]
    other = {a: b for pair in sides for a, b in (pair, pair[::-1])}
    return ' '.join(other.get(word, word) for word in words.split())
