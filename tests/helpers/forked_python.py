"""Pythons that start in a tenth of a second: forks of this process, which has imported everything.

Importing PyTorch and MMAction2 takes six seconds of a core. Within :func:`forked_pythons`, what
this process starts as ``[sys.executable, 'tools/train.py', ...]`` is a fork that runs the script:
a child with a process id, a session, a standard output and an exit code of its own, whom any signal
reaches. Shell scripts get the same from a stand-in, which passes its arguments, folder, environment
and standard streams to a server of forks, hands signals on and ends with the exit code; the child
dies with the stand-in. Modules that were imported keep what their import read from the environment.
"""

import atexit
import concurrent.futures.thread
import contextlib
import gc
import json
import logging
import multiprocessing.forkserver
import multiprocessing.process
import multiprocessing.resource_tracker
import multiprocessing.spawn  # which keeps sys.executable as it finds it
import multiprocessing.util
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmengine.utils import ManagerMixin

REAL = sys.executable
ROOT = str(Path(__file__).parents[2])
MODULES = ('cnnlstm_mm', 'pytest', 'torch.distributed.run')  # those that -m may name
PATHS = [p for p in sys.path if p not in os.environ.get('PYTHONPATH', '').split(os.pathsep)]
STAND_IN = """#!{real} -ISB
import array, json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
text = json.dumps(dict(words=sys.argv[1:], cwd=os.getcwd(), env=dict(os.environ))).encode()
head = len(text).to_bytes(4, 'big')
server.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0, 1, 2]))])
server.sendall(text)
for number in range(1, 32):
    if number not in (9, 17, 18, 19) and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
answer = server.recv(16) or b'1'
if answer == b'exec':
    os.execv({real!r}, [{real!r}, *sys.argv[1:]])
code = int(answer)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code & 255)
"""


def forkable(words: list[str], env: dict[str, str]) -> bool:
    """Whether a fork can do what these arguments of Python ask for."""
    words = [word for word in words if word != '-u']
    if not words or env.get('TRITON_INTERPRET') != os.environ.get('TRITON_INTERPRET'):
        return False
    if ROOT not in env.get('PYTHONPATH', '').split(os.pathsep):  # a clone, an installed wheel
        return False
    if words[0] == '-m':
        return words[1] in MODULES
    return words[0] == '-c' or not words[0].startswith('-')


def become(words: list[str], env: dict[str, str], kept: tuple[int, ...] = ()) -> None:
    """Make this fork a Python with these arguments; it does not return.

    Args:
        words: What follows ``python`` on a command line.
        env: The environment.
        kept: File descriptors that the new process inherits, beside the standard streams.
    """
    code = 1
    try:
        start_anew(env, kept)
        code = interpret([word for word in words if word != '-u'])
        if code == -signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code & 255)


def start_anew(env: dict[str, str], kept: tuple[int, ...]) -> None:
    """Leave nothing of the parent but its imports."""
    gc.freeze()  # closes none of the parent's files
    null = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir('/proc/self/fd'):
        number = int(name)
        with contextlib.suppress(OSError):
            if number > 2 and number not in (*kept, null) and not os.get_inheritable(number):
                os.dup2(null, number, inheritable=False)  # its number is not given away
    os.environ.clear()
    os.environ.update(env)
    sys.path[:] = [*filter(None, env.get('PYTHONPATH', '').split(os.pathsep)), *PATHS]
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as Python's start does
        signal.signal(number, signal.SIG_IGN)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(0)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, 'w', -1, 'utf-8', closefd=False)
    sys.stderr = open(2, 'w', 1, 'utf-8', 'backslashreplace', closefd=False)
    if env.get('PYTHONUNBUFFERED'):
        sys.stdout.reconfigure(write_through=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kind._instance_dict = OrderedDict()
        kinds += kind.__subclasses__()
    DefaultScope.get_instance('mmengine', scope_name='mmengine')
    # As multiprocessing does in its own forks.
    multiprocessing.util._finalizer_registry.clear()
    multiprocessing.util._run_after_forkers()
    multiprocessing.process._children = set()
    multiprocessing.resource_tracker._resource_tracker.__init__()
    multiprocessing.forkserver._forkserver.__init__()
    concurrent.futures.thread._threads_queues.clear()  # one may have started this fork
    atexit._clear()
    atexit.register(logging.shutdown)
    atexit.register(multiprocessing.util._exit_function)
    random.seed()
    np.random.seed()
    torch.seed()


def interpret(words: list[str]) -> int:
    """Run a script, a module or code as Python's command line does; its exit code."""
    try:
        try:
            if words[0] == '-m':
                sys.argv, name = words[1:], words[1]
                sys.path.insert(0, os.getcwd())
                sys.modules.pop(f'{name}.__main__' if name == 'cnnlstm_mm' else name, None)
                runpy.run_module(name, run_name='__main__', alter_sys=True)
            elif words[0] == '-c':
                sys.argv = ['-c', *words[2:]]
                sys.path.insert(0, '')
                exec(compile(words[1], '<string>', 'exec'), dict(__name__='__main__'))
            else:
                sys.argv = list(words)
                sys.path.insert(0, str(Path(words[0]).resolve().parent))
                runpy.run_path(words[0], run_name='__main__')
            code = 0
        except SystemExit as stop:
            code = stop.code
            if code is not None and not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
        except KeyboardInterrupt:
            traceback.print_exc()
            code = -signal.SIGINT
        except BaseException:
            traceback.print_exc()
            code = 1
        threading._shutdown()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return code or 0


class ForkedPopen(subprocess.Popen):
    """Starts a Python as a fork of this one, where it can."""

    def __init__(self, args, *more, env=None, preexec_fn=None, **options):
        words = [os.fsdecode(word) for word in args] if isinstance(args, (list, tuple)) else []
        given = {os.fsdecode(k): os.fsdecode(v) for k, v in (env or os.environ).items()}
        if words and words[0] in (sys.executable, REAL) and not preexec_fn and not more:
            args = [REAL, *words[1:]]
            if forkable(words[1:], given):
                kept = tuple(options.get('pass_fds', ()))
                preexec_fn = partial(become, words[1:], given, kept)
        super().__init__(args, *more, env=env, preexec_fn=preexec_fn, **options)


@contextlib.contextmanager
def forked_pythons():
    """Start Pythons as forks; meanwhile, ``sys.executable`` is the stand-in, which it yields."""
    import torch._dynamo  # by the first optimizer of any training
    import torch.distributed.run  # noqa: F401

    with tempfile.TemporaryDirectory(prefix='python') as folder:
        stand_in, popen, address = Path(folder, 'python'), subprocess.Popen, f'{folder}/socket'
        stand_in.write_text(STAND_IN.format(real=REAL, address=address))
        stand_in.chmod(0o755)
        sys.executable, subprocess.Popen = str(stand_in), ForkedPopen
        try:
            with serving(address):
                yield stand_in
        finally:
            sys.executable, subprocess.Popen = REAL, popen


@contextlib.contextmanager
def serving(address: str):
    """A server of forks for stand-ins."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    server = os.fork()
    if not server:
        serve(listener)
    listener.close()
    try:
        yield
    finally:
        os.kill(server, signal.SIGTERM)
        os.waitpid(server, 0)


def serve(listener: socket.socket) -> None:
    """Give each stand-in a fork, until the test process ends or asks to stop."""
    parent = os.getppid()
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not stopped and os.getppid() == parent:
        if select.select([listener], [], [], 0.05)[0]:
            client = listener.accept()[0]
            if not os.fork():
                attend(client, listener)
            client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    os._exit(0)


def attend(client: socket.socket, listener: socket.socket) -> None:
    """Run what a stand-in asks for, hand its signals on and answer with the exit code."""
    listener.close()
    size, fds, _, _ = socket.recv_fds(client, 4, 3)
    size, text = int.from_bytes(size, 'big'), b''
    while len(text) < size:
        text += client.recv(size - len(text))
    asked = json.loads(text)
    if not forkable(asked['words'], asked['env']):
        client.sendall(b'exec')
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    child = os.fork()
    if not child:
        os.setsid()
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.chdir(asked['cwd'])
        become(asked['words'], asked['env'])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in fds:
        os.close(fd)
    ended = os.pidfd_open(child)
    while ended not in select.select([client, ended], [], [])[0]:
        for number in client.recv(64) or [signal.SIGKILL]:  # nothing when the stand-in was killed
            os.kill(child, number)
            select.select([ended], [], [], 5 * (number == signal.SIGKILL))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(b'%d' % status)
    os._exit(0)
