"""Several runs at once, with a display; a failed run does not stop the others."""

import json
import os
import queue
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .commands import Launch, commands
from .plan import Run
from .run_state import read_state, saved_steps, write_record


@dataclass(frozen=True)
class Outcome:
    """Result of a run."""

    run: Run
    words: str  # 'done', 'was done', 'failed' or 'stopped'
    seconds: float = 0.0  # how long it took this time
    error: str = ''  # the last line of its log if it failed
    log: Path | None = None

    @property
    def failed(self) -> bool:
        """Whether the run ended without a result."""
        return self.words not in ('done', 'was done')


def execute(
    runs: Sequence[Run],
    launch: Launch,
    jobs: int = 1,
    devices: Sequence[str] | None = None,
    console: Console | None = None,
) -> list[Outcome]:
    """Train and test what is not done yet.

    Args:
        runs: In this order.
        launch: How to start each of them.
        jobs: How many at once.
        devices: CUDA device numbers; each job takes ``launch.gpus`` of them. None lets all
            jobs see all.
        console: Where to show progress.

    Returns:
        One a run. Ctrl-C stops what runs; those and the ones that were not begun are 'stopped'.
    """
    slots: queue.Queue[str | None] = queue.Queue()
    for job in range(jobs):
        first = job * launch.gpus
        slots.put(None if devices is None else ','.join(devices[first : first + launch.gpus]))
    stop = Event()
    outcomes: dict[str, Outcome] = {}
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        overall = progress.add_task('Runs', total=len(runs))

        def work(run: Run) -> None:
            slot = slots.get()
            try:
                outcome = _one(run, launch, slot, progress, stop)
            finally:
                slots.put(slot)
            outcomes[str(run.work_dir)] = outcome
            progress.advance(overall)
            if outcome.words != 'stopped':
                progress.console.print(_line(outcome), highlight=False)

        with ThreadPoolExecutor(jobs) as pool:
            waiting = [pool.submit(work, run) for run in runs]
            try:
                for future in waiting:
                    future.result()
            except KeyboardInterrupt:
                stop.set()
                for future in waiting:
                    future.cancel()
    return [outcomes.get(str(run.work_dir), Outcome(run, 'stopped')) for run in runs]


def stop_on_signals() -> None:
    """Let SIGTERM stop as Ctrl-C does.

    Ctrl-C's signal, which a script's background jobs ignore by default, works again, too.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _line(outcome: Outcome) -> str:
    text = f'{outcome.words}: {outcome.run.name}'
    if outcome.words == 'done':
        text += f', {outcome.seconds:.0f} s'
    if outcome.words == 'failed':
        text += f': {outcome.error}'
    return text


def _one(run: Run, launch: Launch, slot: str | None, progress: Progress, stop: Event) -> Outcome:
    started = time.monotonic()
    state = read_state(run)
    if state.other:
        error = (
            f'{run.work_dir} holds a run of other settings or of another version of the config: '
            'move it away, or name another --work-root.'
        )
        return Outcome(run, 'failed', error=error)
    if state.tested:
        return Outcome(run, 'was done')
    if stop.is_set():
        return Outcome(run, 'stopped')
    write_record(run)
    task = progress.add_task(run.name, total=run.length)

    def show(words: str) -> None:
        saved = saved_steps(run.work_dir).steps
        progress.update(task, completed=saved, description=f'{run.name} {words}{_loss(run)}')

    try:
        for what, number in (('train', 0), ('test', 1)):
            state = saved_steps(run.work_dir)
            if what == 'train' and state.steps >= run.length:
                continue
            command = commands(run, launch, state.checkpoint)[number]
            log = run.work_dir / f'{what}.log'
            code = _follow(command, log, slot, launch, stop, partial(show, what))
            if stop.is_set():
                return Outcome(run, 'stopped', time.monotonic() - started)
            if code or (what == 'train' and saved_steps(run.work_dir).steps < run.length):
                reason = _last_line(log) or f'exit code {code}'
                return Outcome(run, 'failed', time.monotonic() - started, reason, log)
        # 'train' fails above without a checkpoint.
        checkpoint = saved_steps(run.work_dir).checkpoint
        write_record(run, checkpoint.name if checkpoint else None)
        return Outcome(run, 'done', time.monotonic() - started)
    finally:
        progress.remove_task(task)


def _follow(
    command: list[str],
    log: Path,
    slot: str | None,
    launch: Launch,
    stop: Event,
    show: Callable[[], None],
) -> int:
    """Run a command to its end, or until ``stop``; its output goes to log."""
    env = dict(os.environ)
    if slot is not None:
        env['CUDA_VISIBLE_DEVICES'] = slot
    if launch.launcher == 'slurm':
        node = min(launch.gpus, int(env.get('GPUS_PER_NODE', 8)))
        env.update(GPUS=str(launch.gpus), GPUS_PER_NODE=str(node))
    with log.open('a') as output:
        # A separate process group: data loader and launcher processes end with it.
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
        while True:
            try:
                return process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                show()
            if stop.is_set():
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    return process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    return process.wait()


def _loss(run: Run) -> str:
    """The newest logged loss, for the display."""
    logs = sorted(run.work_dir.glob('*/vis_data/scalars.json'))
    lines = logs[-1].read_text().splitlines() if logs else []
    for line in reversed(lines[-3:]):
        try:
            return f', loss {json.loads(line)["loss"]:.3f}'
        except (ValueError, KeyError):
            continue
    return ''


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors='replace').splitlines() if line.strip()]
    return lines[-1] if lines else ''
