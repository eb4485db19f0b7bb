"""Names: lists of them in messages, and their order; sentences of words."""

import re
from collections.abc import Iterable

CJK = '\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'  # characters without blanks between


def truncate_list(names: Iterable[object], most: int = 10, separator: str = ', ') -> str:
    """Join the first ``most`` names; the others are counted, as in 'a, b and 3 more'."""
    shown = [str(name) for name in names]
    more = len(shown) - most
    text = separator.join(shown[:most])
    return text if more <= 0 else f'{text}{" " if separator == ", " else separator}and {more} more'


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 2.png before 10.png."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]


def join_words(words: Iterable[str]) -> str:
    """A sentence of words; no blank before 's and between Chinese or Japanese characters."""
    return re.sub(f"(?<=[{CJK}]) (?=[{CJK}])| (?='s( |$))", '', ' '.join(words))


def text_of(lines: Iterable[str]) -> str:
    """Join lines, each with its end."""
    return ''.join(f'{line}\n' for line in lines)


def clock(seconds: float, comma: str = '.') -> str:
    """Time of day, as in 01:02:03.004."""
    whole = round(1000 * seconds)
    minutes, rest = divmod(whole, 60_000)
    return f'{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{comma}{rest % 1000:03}'


def subtitles(rows: Iterable[tuple[float, float, str]]) -> str:
    """SubRip text of (start, end, text) rows, in seconds."""
    return '\n'.join(
        f'{number}\n{clock(start, ",")} --> {clock(end, ",")}\n{text}\n'
        for number, (start, end, text) in enumerate(rows, 1)
    )
