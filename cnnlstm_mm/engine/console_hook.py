"""Console of a training or a test: a progress bar, and a line an epoch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import IterBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from cnnlstm_mm.console import quiet, without_noise, write

from .console_text import (
    count_frames,
    describe_metrics,
    describe_model,
    device_of,
    run_name,
    scalar_names,
)

REFRESH = 0.2  # seconds between two pictures of the bar
PERIOD = 300.0  # seconds between two lines where there is no bar


class ConsoleHook(Hook):
    """Show what is trained or tested, how far it is and how good, on the first process.

    A terminal has a bar over all iterations with the means of the last 20 of loss and accuracy,
    frames a second and the time left; elsewhere a line comes every five minutes. The bar is drawn
    between iterations, without a thread, which a data loader's fork could not take along.

    Args:
        console: None for standard output.
    """

    priority = 'LOWEST'

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.shows = is_main_process()
        self.progress: Progress | None = None
        self._task: TaskID | None = None
        self._inner: TaskID | None = None
        self.by_epoch = True
        self._line = ''  # of an epoch, before it is known whether it will be validated
        self._drawn = self._written = 0.0
        self._begin()

    def close(self) -> None:
        """End the bar, after an error as well."""
        self._flush()
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def before_train(self, runner: Runner) -> None:
        """Say what is trained."""
        if not self.shows:
            return
        loop, loader = runner.train_loop, runner.train_dataloader
        self.by_epoch = not isinstance(loop, IterBasedTrainLoop)
        if self.by_epoch:
            length = f'epochs {loop.epoch + 1} to {loop.max_epochs} of {len(loader)} batches'
            done = loop.epoch >= loop.max_epochs
        else:
            length = f'iterations {loop.iter + 1} to {loop.max_iters}'
            done = loop.iter >= loop.max_iters
        if done:
            length = f'all {loop.max_epochs if self.by_epoch else loop.max_iters} done before'
        self._say(f'Training {run_name(runner)}: {describe_model(runner.model)}')
        processes = get_world_size()
        several = f' x {processes} processes' if processes > 1 else ''
        size = f', batches of {loader.batch_size}{several}' if loader.batch_size else ''
        self._say(f'{len(loader.dataset):,} clips{size}, {length}, on {device_of(runner)}')
        if runner._resume and runner._load_from:
            self._say(f'Resumed from {runner._load_from}')
        self._say_log(runner)
        self._start(loop.max_iters, loop.iter)
        self._begin()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the bar."""
        if not self.shows:
            return
        self._iterations += 1
        self._frames += count_frames(data_batch) * get_world_size()
        loop = runner.train_loop
        if self.progress is not None and self._task is not None:
            self.progress.update(self._task, completed=loop.iter + 1)
        self._draw(lambda: self._text(runner, 20))

    def after_train_epoch(self, runner: Runner) -> None:
        """Make the line of an epoch, which waits for a validation."""
        if self.shows and self.by_epoch:
            self._line = self._summary(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Write the line of the epoch before, which was not validated."""
        self._flush()
        self._begin()

    def after_train(self, runner: Runner) -> None:
        """Write the last line."""
        if self.shows and not self.by_epoch and self._iterations:
            self._line = self._summary(runner)
        self.close()

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin the bar of a validation."""
        if self.shows:
            self._inner_bar('validation', len(runner.val_dataloader))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move it."""
        self._advance_inner()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Write the line of the epoch, with the metrics."""
        if not self.shows:
            return
        if not (self._line or self.by_epoch) and self._iterations:
            self._line = self._summary(runner)
        self._line = '  '.join(filter(None, [self._line, f'val {describe_metrics(metrics)}']))
        if self.progress is not None and self._inner is not None:
            self.progress.remove_task(self._inner)
        self._inner = None
        self._flush()
        self._begin()

    def before_test(self, runner: Runner) -> None:
        """Say what is tested."""
        if not self.shows:
            return
        weights = runner._load_from or 'random weights'
        self._say(f'Testing {run_name(runner)}: {describe_model(runner.model)}')
        loader = runner.test_dataloader
        self._say(f'{len(loader.dataset):,} clips, {weights}, on {device_of(runner)}')
        self._say_log(runner)
        self._start(None, 0)
        self._inner_bar('test', len(loader))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the bar."""
        self._advance_inner()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Write the metrics."""
        if self.shows:
            self.close()
            if metrics:
                self._say(describe_metrics(metrics))

    def _begin(self) -> None:
        self._iterations = self._frames = 0
        self._since = time.monotonic()

    def _start(self, total: int | None, done: int) -> None:
        self._written = time.monotonic()
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            return
        self.progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn('{task.fields[text]}'),
            console=self.console,
            auto_refresh=False,
        )
        if total is not None:
            self._task = self.progress.add_task('', total=total, completed=done, text='')
        self.progress.start()

    def _inner_bar(self, name: str, total: int) -> None:
        if self.progress is not None:
            self._inner = self.progress.add_task(name, total=total, text='')

    def _advance_inner(self) -> None:
        if self.progress is not None and self._inner is not None:
            self.progress.advance(self._inner)
            self._draw(None)

    def _draw(self, text: Any) -> None:
        now = time.monotonic()
        if self.progress is not None and now - self._drawn > REFRESH:
            self._drawn = now
            if text is not None and self._task is not None:
                name, words = text()
                self.progress.update(self._task, description=name, text=words)
            self.progress.refresh()
        elif self.progress is None and text is not None and now - self._written > PERIOD:
            self._say('  '.join(text()))

    def _text(self, runner: Runner, window: int) -> tuple[str, str]:
        """Where the training is, and how good the last iterations were."""
        loop = runner.train_loop
        if self.by_epoch:
            place = f'epoch {min(loop.epoch + 1, loop.max_epochs)}/{loop.max_epochs}'
        else:
            place = f'iteration {loop.iter}/{loop.max_iters}'
        seconds = time.monotonic() - self._since
        words = [
            f'{name} {runner.message_hub.get_scalar(f"train/{name}").mean(window):.4g}'
            for name in scalar_names(runner)
        ]
        return place, '  '.join([*words, f'{self._frames / max(seconds, 1e-9):.0f} frames/s'])

    def _summary(self, runner: Runner) -> str:
        """The line of an epoch, and begin the next one."""
        loop = runner.train_loop
        place = f'epoch {loop.epoch + 1}/{loop.max_epochs}'
        if not self.by_epoch:
            place = f'iteration {loop.iter}/{loop.max_iters}'
        seconds = time.monotonic() - self._since
        words = self._text(runner, max(self._iterations, 1))[1]
        self._begin()
        return f'{place}  {words}  {seconds:.0f} s'

    def _flush(self) -> None:
        if self._line:
            self._say(self._line)
            self._line = ''

    def _say(self, text: str) -> None:
        self._written = time.monotonic()
        write(self.console, text)

    def _say_log(self, runner: Runner) -> None:
        log = getattr(runner.logger, 'log_file', None)
        if log:
            self._say(f'Full log: {log}')


@contextmanager
def shown(runner: Runner) -> Iterator[None]:
    """Close the bars of a Runner at the end, whatever ends it."""
    try:
        yield
    finally:
        for hook in runner.hooks:
            if isinstance(hook, ConsoleHook):
                hook.close()


class QuietRunner(Runner):
    """A Runner whose console shows what :class:`ConsoleHook` says, warnings and errors."""

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger of a run, with a quiet console."""
        logger = super().build_logger(*args, **kwargs)
        quiet(logger)
        return logger

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint, without a line on the console."""
        with without_noise():
            return super().load_checkpoint(*args, **kwargs)


def show(runner: Runner, console: Console | None = None) -> ConsoleHook:
    """Register the hook with a Runner, and let its logger show what is for people alone."""
    hook = ConsoleHook(console)
    quiet(runner.logger, hook.console)
    runner.register_hook(hook)
    return hook
