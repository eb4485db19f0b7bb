"""Freed memory is used again: page faults counted in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

from cnnlstm_mm import memory

pytestmark = pytest.mark.slow

PROGRAM = """
import resource, runpy, sys
memory = runpy.run_path(sys.argv[2])  # alone, not the whole package
kept = memory['keep_freed_memory']() if sys.argv[1] == 'keep' else False
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for turn in range(12):  # the heap takes some to settle
    before = faults()
    held = [torch.ones(2 ** 24) for _ in range(3)]  # 64 MB each
    del held
print(int(kept), faults() - before)
"""
PAGES = 3 * 2**26 // os.sysconf('SC_PAGE_SIZE')
linux = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='for the GNU C library')


def run(how, **environment):
    """Whether the setting was made, and faults of the last turn."""
    plain = {name: value for name, value in os.environ.items() if 'MALLOC' not in name}
    out = subprocess.run(
        [sys.executable, '-c', PROGRAM, how, memory.__file__],
        check=True,
        env={**plain, **environment},
        capture_output=True,
    )
    kept, faults = out.stdout.split()
    return bool(int(kept)), int(faults)


@linux
def test_kept_memory_has_no_new_pages():
    assert run('keep') == (True, pytest.approx(0, abs=PAGES // 50))


@linux
def test_without_it_every_page_is_new():
    """What the test above would see if the setting did nothing."""
    kept, faults = run('leave')
    assert not kept
    # Huge pages fault once for 512 small ones.
    assert faults >= PAGES // 512


@linux
def test_the_users_choice_stays():
    kept, faults = run('keep', MALLOC_MMAP_MAX_='65536')
    assert not kept
    assert faults >= PAGES // 512


def test_another_c_library(monkeypatch):

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(memory.ctypes, 'CDLL', missing)
    for name in memory._CHOICES:
        monkeypatch.delenv(name, raising=False)
    assert memory.keep_freed_memory() is False
