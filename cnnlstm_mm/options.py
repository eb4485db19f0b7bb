"""Checks of config options, by name. Imports the standard library alone."""

import math
from collections.abc import Sequence
from typing import Any, cast

MAX_INT = 10**6  # more channels, layers or frames than any model has


def check_int(least: int = 1, optional: bool = False, **values: Any) -> None:
    """Raise ValueError unless every value is an int in range.

    Args:
        least: The smallest allowed; the largest is ``MAX_INT``.
        optional: Whether None is allowed.
        **values: The options by name.
    """
    for name, value in values.items():
        if value is None and optional:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_INT:
            kind = f'an int from {least} to {MAX_INT}{" or None" if optional else ""}'
            raise ValueError(f'{name}: expected {kind}, got {value!r}')


def check_number(low: float = -math.inf, high: float = math.inf, **values: Any) -> None:
    """Raise ValueError unless every value is a finite number from ``low`` to ``high``."""
    for name, value in values.items():
        if not _is_number(value) or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f'{name}: expected a number in [{low}, {high}], got {value!r}')


def check_fraction(**values: Any) -> None:
    """Raise ValueError unless every value is a number in [0, 1), such as a dropout."""
    for name, value in values.items():
        if not _is_number(value) or not 0 <= value < 1:
            raise ValueError(f'{name}: expected a number in [0, 1), got {value!r}')


def check_bool(**values: Any) -> None:
    """Raise ValueError unless every value is a bool; the text 'False' would count as True."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f'{name}: expected True or False, got {value!r}')


def check_choice(name: str, value: Any, *known: Any) -> None:
    """Raise ValueError unless ``value`` is one of ``known``."""
    if value not in known:
        raise ValueError(f'{name}: expected one of {known}, got {value!r}')


def check_sizes(sizes: int | Sequence[int], num_layers: int) -> tuple[int | tuple[int, ...], int]:
    """Return the ``hidden_channels`` of a stack, a list as a tuple, and the number of its layers.

    Raises:
        ValueError: For values out of range, and a list beside another ``num_layers`` than 1.
    """
    check_int(num_layers=num_layers)
    if not isinstance(sizes, (list, tuple)):
        check_int(hidden_channels=sizes)
        return cast(int, sizes), num_layers
    if not sizes or num_layers not in (1, len(sizes)):
        raise ValueError(
            f'hidden_channels: expected one size for each of {num_layers} layers, got '
            f'{list(sizes)}; fix: num_layers={len(sizes) or 1}'
        )
    for size in sizes:
        check_int(hidden_channels=size)
    return tuple(sizes), len(sizes)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
