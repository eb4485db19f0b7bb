"""One self-contained HTML page with tables and plots."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from cnnlstm_mm.lab.figures import png_bytes
from cnnlstm_mm.storage import write_text

from . import plots
from .result import Curves, RunResult
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
        path: The .html file.
        runs: Of :func:`read_run`.
        tables: Of :func:`group_runs`.
        planned: The lists that are not yet run.
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
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>Results</title><style>{STYLE}</style></head><body>\n'
        f'<h1>Results</h1>\n{body}\n<h2>Runs</h2>\n{listed}\n'
        f'<h2>Pictures</h2>\n{drawn}</body></html>\n',
    )


def _marked(row: str) -> str:
    """Give the row of a run that is not finished its colour."""
    if not row.lstrip().startswith(('<td', '<th')):
        return row
    unfinished = 'unfinished' in row or 'not tested' in row
    return f'<tr class="open">{row}' if unfinished else f'<tr>{row}'


def _inline(figure: Any) -> str:
    return 'data:image/png;base64,' + base64.b64encode(png_bytes(figure)).decode()
