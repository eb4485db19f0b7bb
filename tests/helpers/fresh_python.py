"""Pythons in which nothing of MMAction2's or of ours is imported yet, in a tenth of a second.

A server has imported PyTorch and the libraries that all need, and forks for each code.
"""

import functools
import json
import subprocess
import sys
import tempfile
import textwrap

from .support import ROOT

SERVER = """
import json, os, sys, traceback
import cv2, rich.progress, sympy
import torch.distributed.fsdp, torch.distributed.optim, torch.export, torch.utils.data

def run(code, path, out, err):
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY), number)
    sys.path[:0] = path
    sys.argv = ['-c']
    try:
        exec(compile(code, '<string>', 'exec'), dict(__name__='__main__'))
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        code = run(**asked)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@functools.cache
def server() -> subprocess.Popen:
    """The server of this process, which ends with it."""
    return subprocess.Popen(
        [sys.executable, '-c', SERVER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def fresh_python(code, path=()) -> subprocess.CompletedProcess:
    """Run code as ``python -c`` does, with folders before the others of ``sys.path``."""
    code = textwrap.dedent(code)
    with tempfile.NamedTemporaryFile('r') as out, tempfile.NamedTemporaryFile('r') as err:
        asked = dict(code=code, path=[str(p) for p in (*path, ROOT)], out=out.name, err=err.name)
        print(json.dumps(asked), file=server().stdin)
        status = int(server().stdout.readline())
        return subprocess.CompletedProcess(code, status, out.read(), err.read())
