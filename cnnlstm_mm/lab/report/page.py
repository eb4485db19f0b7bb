"""One HTML page with tables and pictures, that needs no other file."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from . import plots
from .read import Curves, RunResult
from .rows import Row
from .tables import results_tables, runs_table

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
       max-width: 1200px; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; display: block; overflow-x: auto;
        font-size: 13px; margin: 1rem 0; }
th, td { border: 1px solid #ccc; padding: .25rem .5rem; text-align: left;
         white-space: nowrap; }
th { background: #f2f4f7; }
tr.open td { background: #fff3e0; }
img { max-width: 100%; }
"""


def write_page(
    path: Path,
    runs: Sequence[tuple[RunResult, Curves]],
    tables: dict[str, list[Row]],
    planned: Sequence[dict],
) -> None:
    """Write the page.

    Args:
        path (Path): The .html file.
        runs (Sequence[tuple]): Of :func:`read_run`.
        tables (dict[str, list[Row]]): Of :func:`group_runs`.
        planned (Sequence[dict]): The lists that are not yet run.
    """
    parser = MarkdownIt('commonmark', dict(html=False)).enable('table')
    drawn = ''.join(
        f'<h3>{html.escape(name.replace("_", " "))}</h3>\n'
        f'<img alt="{html.escape(name)}" src="{_inline(figure)}">\n'
        for name, figure in plots.all_pictures(runs, tables)
    )
    results = results_tables(tables, planned)
    each = runs_table([run for run, _ in runs])
    body = parser.render(results).replace('&lt;br&gt;', '<br>')
    listed = parser.render(each)
    listed = '\n'.join(_marked(row) for row in listed.split('<tr>'))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>Results</title><style>{STYLE}</style></head><body>\n'
        f'<h1>Results</h1>\n{body}\n<h2>Runs</h2>\n{listed}\n'
        f'<h2>Pictures</h2>\n{drawn}</body></html>\n',
        encoding='utf-8',
    )


def _marked(row: str) -> str:
    """Give the row of a run that is not finished its colour."""
    if not row.lstrip().startswith(('<td', '<th')):
        return row
    unfinished = 'unfinished' in row or 'not tested' in row
    return f'<tr class="open">{row}' if unfinished else f'<tr>{row}'


def _inline(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=plots.DPI)
    plots.plt.close(figure)
    return 'data:image/png;base64,' + base64.b64encode(buffer.getvalue()).decode()
