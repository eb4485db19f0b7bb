"""Markdown tables."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]], padded: bool = True) -> str:
    """A table of the head row and the others, its columns aligned where ``padded``."""
    rows = [[cell.replace('|', r'\|').replace('\n', ' ') for cell in row] for row in rows]
    widths = [max(map(len, column)) if padded else 0 for column in zip(*rows)]
    rows.insert(1, ['-' * max(3, width) for width in widths])
    return '\n'.join(
        '| ' + ' | '.join(f'{cell:{width}}' for cell, width in zip(row, widths)) + ' |'
        for row in rows
    )
