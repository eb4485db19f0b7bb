"""Timelines in files: JSON, SubRip subtitles and a picture."""

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlstm_mm.storage import write_text
from cnnlstm_mm.streaming.event_outputs import event_message
from cnnlstm_mm.streaming.events import Event
from cnnlstm_mm.streaming.overlay import color
from cnnlstm_mm.text import clock, subtitles

COLUMNS = ('start', 'end', 'class', 'score')


def segment_dict(event: Event) -> dict[str, Any]:
    """A segment as JSON: ``start`` and ``end`` in seconds, ``class`` and ``score``."""
    message = event_message(event)
    message['class'] = message.pop('label')
    return {key: message[key] for key in COLUMNS}


def timeline_table(segments: Sequence[dict[str, Any]]) -> str:
    """Columns of text: start, end, class, score."""
    rows = [(clock(s['start']), clock(s['end']), s['class'], f'{s["score"]:.4f}') for s in segments]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
    return '\n'.join(
        '  '.join(f'{cell:{width}}' for cell, width in zip(row, widths)).rstrip()
        for row in (COLUMNS, *rows)
    )


def write_timeline(folder: Path, stem: str, name: str, segments: Sequence[dict[str, Any]]) -> None:
    """Write STEM.json (``{"file": ..., "segments": [...]}``), STEM.srt and STEM.png."""
    text = json.dumps(dict(file=name, segments=list(segments)), ensure_ascii=False, indent=1)
    write_text(folder / f'{stem}.json', text + '\n')
    shown = [(s['start'], s['end'], f'{s["class"]} {100 * s["score"]:.0f} %') for s in segments]
    write_text(folder / f'{stem}.srt', subtitles(shown))
    write_picture(folder / f'{stem}.png', segments, Path(name).name)


def write_csv_timeline(path: str, answers: dict[str, list[dict[str, Any]]]) -> None:
    """Write ``file, start, end, class, score``, one line per segment."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['file', *COLUMNS])
    for name, segments in answers.items():
        writer.writerows([name, *(segment[key] for key in COLUMNS)] for segment in segments)
    write_text(path, text.getvalue())


def write_picture(path: Path, segments: Sequence[dict[str, Any]], title: str) -> None:
    """Write a chart with a row for each class that occurs."""
    from cnnlstm_mm.lab.figures import Figure  # takes a while to import

    classes = list(dict.fromkeys(segment['class'] for segment in segments))
    end = max((segment['end'] for segment in segments), default=1.0)
    figure = Figure(figsize=(10, 1 + 0.3 * max(len(classes), 1)), layout='constrained')
    axes = figure.add_subplot()
    for row, name in enumerate(classes):
        own = [segment for segment in segments if segment['class'] == name]
        bars = [(segment['start'], segment['end'] - segment['start']) for segment in own]
        shade = tuple(value / 255 for value in color(row)[::-1])
        colors = [(*shade, 0.3 + 0.7 * min(max(segment['score'], 0), 1)) for segment in own]
        axes.broken_barh(bars, (row - 0.4, 0.8), facecolors=colors)
    axes.set_yticks(range(len(classes)), classes)
    axes.invert_yaxis()
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(lambda seconds, _: clock(math.floor(seconds))[:8])
    axes.set_title(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
