"""A process that checks cases, and may hang or die of one."""

import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

LIMIT = 30.0  # seconds for one case, on a busy machine


def serve(pipe, place):
    """Check cases until there are no more."""
    os.environ['OPENCV_LOG_LEVEL'] = 'SILENT'
    os.environ['OPENCV_FFMPEG_LOGLEVEL'] = '-8'
    # Decoders and loggers write what nobody reads here.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import torch

    torch.set_num_threads(1)
    from helpers.fuzzing.judge import judged
    from mmengine.registry import init_default_scope

    import cnnlstm_mm  # noqa: F401

    init_default_scope('mmaction')
    pipe.send('ready')
    while True:
        name, case = pipe.recv()
        module = importlib.import_module(f'helpers.fuzzing.{name}')
        try:
            pipe.send(judged(module.check, case, Path(place)))
        except Exception:  # of the check itself
            pipe.send(('fault', traceback.format_exc()))


class Child:
    """Starts the process again whenever a case has ended it."""

    def __init__(self):
        self.process = None

    def __enter__(self):
        self.place = tempfile.mkdtemp(prefix='fuzz_')
        return self

    def __exit__(self, *_):
        self._end()
        shutil.rmtree(self.place, ignore_errors=True)

    def ask(self, name, case):
        """Check a case of a module.

        Returns:
            tuple[str, str]: 'accepted', 'refused', or a fault: 'fault',
            'crash' or 'hang'; and the reason.
        """
        if self.process is None:
            self._start()
        self.pipe.send((name, case))
        if not self.pipe.poll(LIMIT):
            self._end()
            return 'hang', f'no answer within {LIMIT:g} s'
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join(10)
            code = self.process.exitcode
            self._end()
            return 'crash', f'the process ended ({code})'

    def _start(self):
        context = multiprocessing.get_context('spawn')
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.place), daemon=True)
        self.process.start()
        theirs.close()
        if not self.pipe.poll(300) or self.pipe.recv() != 'ready':
            raise RuntimeError('the checking process did not start')

    def _end(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
