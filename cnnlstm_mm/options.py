"""Options of a config, refused by their names. Needs nothing else."""

import math
from typing import Any

MOST = 10**6  # more channels, layers or frames than any model has


def check_whole(least: int = 1, optional: bool = False, **values: Any) -> None:
    """Refuse what is no whole number.

    Args:
        least (int): The smallest allowed. Defaults to 1.
        optional (bool): Whether None is allowed. Defaults to False.
        **values: The options by name.

    Raises:
        ValueError: With name, value and what is allowed.
    """
    for name, value in values.items():
        if value is None and optional:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
            raise ValueError(
                f'{name} must be an int from {least} to {MOST}'
                f'{" or None" if optional else ""}, got {value!r}'
            )


def check_number(low: float = -math.inf, high: float = math.inf, **values: Any) -> None:
    """Refuse what is no finite number from ``low`` to ``high``.

    Args:
        low (float): The smallest allowed. Defaults to none.
        high (float): The largest allowed. Defaults to none.
        **values: The options by name.

    Raises:
        ValueError: With name, value and what is allowed.
    """
    for name, value in values.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or not low <= value <= high
        ):
            raise ValueError(f'{name} must be a number in [{low}, {high}], got {value!r}')


def check_share(**values: Any) -> None:
    """Refuse what is no number in [0, 1), such as a dropout of 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ValueError(f'{name} must be in [0, 1), got {value!r}')


def check_flag(**values: Any) -> None:
    """Refuse what is neither True nor False; 'False' would count as True."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f'{name} must be True or False, got {value!r}')
