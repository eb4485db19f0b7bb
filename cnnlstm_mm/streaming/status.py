"""Progress of streams: a status line in a terminal, lines of a log elsewhere."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from .source import SourceState, VideoSource

PERIOD = 30.0  # seconds between two lines of the log without news
LOGGER = logging.getLogger(__package__)


class _States(ProgressColumn):
    def __init__(self, sources: Sequence[VideoSource]) -> None:
        super().__init__()
        self.sources = sources

    def render(self, task: Task) -> Text:
        """The states of the sources: connecting, silent, streaming, lost or ended."""
        return Text(', '.join(source.state.value for source in self.sources))


class Status:
    """Show states, frames and a line of text; warnings of the package go the same way.

    Args:
        sources: their states are shown; in a log, each change of one is a line.
        console: of rich; whether it is a terminal decides.
        total: number of frames, None if unknown.
    """

    def __init__(self, sources: Sequence[VideoSource], console: Console, total: int | None) -> None:
        self.sources, self.console, self.frames = sources, console, 0
        self._states: list[SourceState | None] = [None] * len(sources)
        self._written = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            self._progress = Progress(
                _States(sources),
                TextColumn('{task.description}'),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            self._task = self._progress.add_task('', total=total)

    def __enter__(self) -> 'Status':
        with ExitStack() as stack:
            if self._progress is not None:
                stack.enter_context(self._progress)
            handler = logging.Handler()
            handler.emit = lambda record: self._write(record.getMessage())
            LOGGER.addHandler(handler)
            stack.callback(LOGGER.removeHandler, handler)
            before, LOGGER.propagate = LOGGER.propagate, False
            stack.callback(setattr, LOGGER, 'propagate', before)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self.update(0)
        self._stack.__exit__(*error)

    def update(self, frames: int, text: str | None = None) -> None:
        """Count frames and show a text about the last one."""
        self.frames += frames
        if self._progress is not None:
            description = {} if text is None else dict(description=text)
            self._progress.update(self._task, advance=frames, **description)
            return
        states = [source.state for source in self.sources]
        for source, state, before in zip(self.sources, states, self._states):
            if state is not before:
                self._write(f'{source.name}: {state.value}')
        self._states = states
        if text and time.monotonic() - self._written > PERIOD:
            self._write(f'{self.frames} frames, {text}')

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        stamp = time.strftime('%Y-%m-%d %H:%M:%S')
        self.console.print(f'{stamp} {text}', markup=False, highlight=False, soft_wrap=True)
