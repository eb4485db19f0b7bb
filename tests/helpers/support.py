"""The repository's paths, and its tools called in this process or in another one."""

import contextlib
import functools
import gc
import importlib.util
import io
import logging
import multiprocessing
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch
from mmengine.utils import ManagerMixin
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from cnnlstm_mm.commands.doctor_checks import environment, machine, package

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get('CNNLSTM_MM_SHARED', ROOT.parent / 'shared'))
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_python(*args, **kwargs) -> subprocess.CompletedProcess:
    """Run this Python in the repository and capture what it prints."""
    env = {**os.environ, **kwargs.pop('env', {})}
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        **kwargs,
    )


def run_tool(path, *args) -> subprocess.CompletedProcess:
    """Call the ``main`` of a tool in this process as ``run_python(path, *args)`` would.

    It captures all output, turns SystemExit and errors into the exit codes and messages of the
    interpreter, and restores what the tool changes in the process.
    """
    with process_state(), captured() as output:
        code = call_tool(path, *args)
    return subprocess.CompletedProcess([path, *args], code, *output)


@contextlib.contextmanager
def without_coverage():
    """For what raises from a signal handler: coverage's lock would stay taken, and this thread wait
    for itself, for ever."""
    coverage = sys.modules.get('coverage')
    measuring = coverage and coverage.Coverage.current()
    if measuring:
        measuring.stop()
    try:
        yield
    finally:
        if measuring:
            measuring.start()


def run_script(path, *args) -> int:
    """Run a tool's file as Python does when it is named on the command line; its exit code."""
    sys.argv = [str(path), *map(str, args)]
    try:
        runpy.run_path(str(ROOT / path), run_name='__main__')
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def run_code(code, *args) -> int:
    """Run Python code as ``python -c`` does; its exit code."""
    sys.argv = ['-c', *args]
    try:
        exec(code, dict(__name__='__main__'))
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def in_a_fork(function, *args) -> None:
    """Call a function in a fork of this process, for what would stay in it."""

    def call(path):
        try:
            function(*args)
        except BaseException:
            traceback.print_exc()
            return 1
        return 0

    done = run_forked('', call=call)
    assert done.returncode == 0, done.stdout + done.stderr


def run_forked(
    path, *args, processes=0, prepare=lambda: None, call=None
) -> subprocess.CompletedProcess:
    """Call a tool in a fork of this process, which has imported everything already.

    Args:
        path: The tool.
        *args: Its arguments.
        processes: Processes of one distributed run, started and stopped as torchrun does it; 0
            for a run that is not distributed.
        prepare: Called in the fork before the tool.
        call: How to call it: :func:`call_tool`, :func:`run_script` or :func:`run_code`.
    """
    children, code = [], 0
    address = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free_port()))
    with captured() as output:
        for rank in range(max(processes, 1)):
            child = os.fork()
            if not child:
                code = 1
                try:
                    if processes:
                        ranks = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=processes)
                        os.environ.update(address, **{k: str(v) for k, v in ranks.items()})
                    prepare()
                    code = (call or call_tool)(path, *args)
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            children.append(child)
        deadline = time.time() + 600
        while children:
            for child in list(children):
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    children.remove(child)
                    code = code or os.waitstatus_to_exitcode(status)
            if (code or time.time() > deadline) and children:
                for child in children:
                    os.kill(child, signal.SIGTERM)
            time.sleep(0.05)
    return subprocess.CompletedProcess([path, *args], code, *output)


def call_tool(path, *args) -> int:
    """Call a tool as a script of the repository; its exit code."""
    argv = [str(arg) for arg in args]
    os.chdir(ROOT)
    sys.argv = [str(path), *argv]
    sys.path.insert(0, str((ROOT / path).parent))
    try:
        code = load_tool(path).main(argv)
    except SystemExit as stop:
        code = stop.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except Exception:
        traceback.print_exc()
        code = 1
    return int(code or 0)


@functools.cache
def load_tool(path: str) -> ModuleType:
    """Import a tool, once: the module that holds its ``main``.

    That of a file in tools/ lies in the package. The folder is on ``sys.path`` meanwhile, as for a
    script.
    """
    file = ROOT / path
    name = f'tool_{file.stem}'  # a module of Python's is named test, too
    spec = importlib.util.spec_from_file_location(name, file)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return sys.modules[module.main.__module__]


@contextlib.contextmanager
def captured():
    """Standard output and error, of forked processes as well, in a list of two strings."""
    output = []
    with contextlib.ExitStack() as stack:
        files = []
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            file = stack.enter_context(tempfile.TemporaryFile())
            stream = io.TextIOWrapper(
                os.fdopen(os.dup(file.fileno()), 'wb'), 'utf-8', 'replace', write_through=True
            )
            getattr(sys, name).flush()
            stack.callback(os.close, saved := os.dup(number))
            stack.callback(os.dup2, saved, number)
            os.dup2(file.fileno(), number)
            stack.callback(setattr, sys, name, getattr(sys, name))
            setattr(sys, name, stream)
            files.append((file, stream))
        try:
            yield output
        finally:
            for file, stream in files:
                stream.flush()
                file.seek(0)
                output.append(file.read().decode('utf-8', 'replace'))


@contextlib.contextmanager
def process_state():
    """Restore what a process holds once: environment, threads, random numbers, loggers, scopes."""
    managers = {kind: kind._instance_dict for kind in subclasses(ManagerMixin)}
    environment, folder, argv, path = dict(os.environ), os.getcwd(), sys.argv, list(sys.path)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    root = logging.getLogger()
    logs = root.level, list(root.handlers)
    threads = torch.get_num_threads(), cv2.getNumThreads()
    grad, deterministic = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    numbers = torch.get_rng_state(), np.random.get_state(), random.getstate()
    for kind in managers:
        kind._instance_dict = OrderedDict()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        if multiprocessing.active_children():
            stop_workers()
            gc.collect()
        for kind, instances in managers.items():
            for instance in kind._instance_dict.values():
                for handler in getattr(instance, 'handlers', ()):
                    handler.close()
            kind._instance_dict = instances
        torch.set_rng_state(numbers[0])
        np.random.set_state(numbers[1])
        random.setstate(numbers[2])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        torch.use_deterministic_algorithms(deterministic)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
        root.setLevel(logs[0])
        root.handlers[:] = logs[1]
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv, sys.path[:] = argv, path


def stop_workers() -> None:
    """End the workers of data loaders.

    The garbage collector, which else ends them, closes the queues first: each worker then waits
    for five seconds.
    """
    for one in gc.get_objects():
        if type(one) is _MultiProcessingDataLoaderIter:
            one._shutdown_workers()


def subclasses(kind: type) -> list[type]:
    """The class and all below it."""
    return [kind, *(one for child in kind.__subclasses__() for one in subclasses(child))]


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def examine_configs_alone(monkeypatch) -> None:
    """Leave out what the doctor tries in new processes; the configs are examined in forks."""

    def tried(code, seconds=0, *args):
        done = run_forked(code, *args, call=run_code)
        lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
        return not done.returncode, lines[-1] if lines else ''

    monkeypatch.setattr(package, 'tried', tried)
    for module, name in (
        (environment, 'imports'),
        (machine, 'distributed'),
        (machine, 'decoder'),
        (package, 'fixes'),
    ):
        monkeypatch.setattr(module, name, lambda: [])
