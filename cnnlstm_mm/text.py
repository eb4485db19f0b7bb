"""Lists of names in messages."""

from collections.abc import Iterable


def truncate_list(names: Iterable[object], most: int = 10, separator: str = ', ') -> str:
    """Join the first ``most`` names; the others are counted, as in 'a, b and 3 more'."""
    shown = [str(name) for name in names]
    more = len(shown) - most
    text = separator.join(shown[:most])
    return text if more <= 0 else f'{text}{" " if separator == ", " else separator}and {more} more'
