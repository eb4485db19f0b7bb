"""Objects in child processes, to measure them in turns."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any


class Worker:
    """A process that holds one object and calls its methods on request.

    Args:
        factory: builds the object from the arguments of ``ask('build', ...)``;
            at the top level of a module.
        environment: variables added to those of the process.
    """

    def __init__(self, factory: Callable, environment: dict[str, str] | None = None) -> None:
        before = dict(os.environ)
        os.environ.update(environment or {})
        context = multiprocessing.get_context('spawn')
        self.pipe, theirs = context.Pipe()
        # Not a daemon: its data loaders start processes.
        self.process = context.Process(target=_serve, args=(theirs, factory))
        self.process.start()
        theirs.close()
        os.environ.clear()
        os.environ.update(before)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call ``method`` of the object and return its result.

        Raises:
            RuntimeError: if the method raises, or the process dies.
        """
        self.start(method, *arguments)
        return self.answer()

    def start(self, method: str, *arguments: Any) -> None:
        """Call ``method`` without waiting for it."""
        self.pipe.send((method, arguments))

    def answer(self) -> Any:
        """Result of the method started last; see ``ask``."""
        try:
            fine, answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError('the process died') from None
        if not fine:
            raise RuntimeError(answer)
        return answer

    def pause(self) -> None:
        """Suspend the process and its children."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Resume after ``pause``."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process; kill it after 10 seconds."""
        self.pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()


def _serve(pipe: Any, factory: Callable) -> None:
    os.setpgrp()  # its children are paused with it
    built = None
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            if method == 'build':
                built = factory(*arguments)
                pipe.send((True, None))
            else:
                pipe.send((True, getattr(built, method)(*arguments)))
        except Exception as error:  # the parent reports it
            pipe.send((False, repr(error)))
