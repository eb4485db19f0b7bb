"""Objects in processes of their own, to measure them in turns."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any


class Worker:
    """A process that holds one object and calls its methods on request.

    Args:
        factory: builds the object from the arguments of ``ask('build', ...)``;
            a name at the top level of a module.
        environment: variables that the process starts with.
    """

    def __init__(self, factory: Callable, environment: dict[str, str] | None = None) -> None:
        before = dict(os.environ)
        os.environ.update(environment or {})
        context = multiprocessing.get_context('spawn')
        self.pipe, theirs = context.Pipe()
        # No daemon: data loaders in it start processes too.
        self.process = context.Process(target=_serve, args=(theirs, factory))
        self.process.start()
        theirs.close()
        os.environ.clear()
        os.environ.update(before)

    def ask(self, method: str, *arguments: Any) -> Any:
        """What ``method`` of the object returns.

        Raises:
            RuntimeError: with what was raised in the process, or that it died.
        """
        self.start(method, *arguments)
        return self.answer()

    def start(self, method: str, *arguments: Any) -> None:
        """Call ``method`` without waiting for it."""
        self.pipe.send((method, arguments))

    def answer(self) -> Any:
        """What the method that was started last returns; see ``ask``."""
        try:
            fine, answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError('the process died') from None
        if not fine:
            raise RuntimeError(answer)
        return answer

    def pause(self) -> None:
        """Stop the process and all that it started where they are."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Go on after ``pause``."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the process, whatever it does."""
        self.pipe.close()
        self.process.join(10)
        if self.process.is_alive():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()


def _serve(pipe: Any, factory: Callable) -> None:
    os.setpgrp()  # what it starts is paused with it
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
