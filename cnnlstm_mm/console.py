"""What people read on a console: warnings, errors and the messages meant for them.

mmengine's loggers write everything to a log file; here they show what is left of it.
"""

import io
import logging
import sys
from contextlib import AbstractContextManager, redirect_stdout
from typing import Any

from mmengine.logging import MMLogger
from rich.console import Console

SHOWN = dict(shown=True)  # as in logger.info(message, extra=SHOWN)
PRINTED = ('Loads checkpoint by ',)  # by mmengine, past its loggers
NOISE = ('will be deprecated in future',)  # of mmengine's own calls


class ConsoleHandler(logging.Handler):
    """Write warnings, errors and records with ``extra=SHOWN`` above a progress bar.

    Args:
        console: Where the bar is; None for standard output.
        level: Lowest level, as of the handler before it.
    """

    def __init__(self, console: Console | None = None, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.console = console

    def filter(self, record: logging.LogRecord) -> Any:
        """Whether a record is for people."""
        if any(words in str(record.msg) for words in NOISE):
            return False
        shown = record.levelno >= logging.WARNING or getattr(record, 'shown', False)
        return super().filter(record) if shown else False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one message."""
        text = self.format(record)
        if record.levelno >= logging.WARNING:
            text = f'{record.levelname}: {text}'
        if self.console is None:
            print(text, flush=True)
        else:
            write(self.console, text)


class _WithoutNoise(io.TextIOBase):
    """A stream without the lines that mmengine prints past its loggers."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.dropped = stream, False

    def write(self, text: str) -> int:
        """Pass text on; the end of a dropped line comes in a write of its own."""
        dropped, self.dropped = self.dropped, text.startswith(PRINTED)
        if not self.dropped and not (dropped and text == '\n'):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()


def without_noise() -> AbstractContextManager[Any]:
    """Leave out what mmengine prints while it loads a checkpoint."""
    return redirect_stdout(_WithoutNoise(sys.stdout))


def write(console: Console, text: str) -> None:
    """Write a line as it is, of any length."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def quiet(logger: MMLogger | None = None, console: Console | None = None) -> None:
    """Let an mmengine logger show on the console what is for people alone.

    Files get everything, as before. Called again, it changes the console.

    Args:
        logger: None for that of messages outside of a run.
        console: See :class:`ConsoleHandler`.
    """
    logger = logger or MMLogger.get_current_instance()
    for number, handler in enumerate(logger.handlers):
        if isinstance(handler, ConsoleHandler):
            handler.console = console
        elif type(handler) is logging.StreamHandler:
            shown = ConsoleHandler(console, handler.level)
            for one in handler.filters:
                shown.addFilter(one)
            logger.handlers[number] = shown
