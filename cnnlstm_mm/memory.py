"""Memory functions of the C library, for models that run on the CPU."""

import ctypes
import os

# From malloc.h of the GNU C library.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
# With one of these the user has chosen, or has another allocator.
_CHOICES = (
    'MALLOC_MMAP_MAX_',
    'MALLOC_MMAP_THRESHOLD_',
    'MALLOC_TRIM_THRESHOLD_',
    'MALLOC_TOP_PAD_',
    'GLIBC_TUNABLES',
    'LD_PRELOAD',
)


# memcmp(address, address, size): 0 if the bytes are equal; at the speed of the memory.
compare_bytes = ctypes.CDLL('msvcrt' if os.name == 'nt' else None).memcmp
compare_bytes.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def keep_freed_memory() -> bool:
    """Let this process reuse the memory that it frees instead of returning it.

    The GNU C library takes every large tensor from the system and returns it when it is freed, so
    that each is filled with zeros once more, page by page; for a CNN on a batch of frames this is
    a third of a training step. Afterwards the process holds about its peak, until
    :func:`return_freed_memory`. Processes that are forked later inherit the setting.

    Nothing is changed if the user has chosen by one of the environment variables MALLOC_MMAP_MAX_,
    MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_, MALLOC_TOP_PAD_, GLIBC_TUNABLES and LD_PRELOAD;
    ``MALLOC_MMAP_MAX_=65536`` is the C library's own way.

    Returns:
        False if nothing was changed, also with other C libraries than GNU's.

    Source: mallopt(3) of the GNU C library.
    """
    if any(os.environ.get(name) for name in _CHOICES):
        return False
    try:
        mallopt = ctypes.CDLL('libc.so.6').mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def return_freed_memory() -> bool:
    """Return the memory that this process has freed to the system.

    Call it before a process forks that holds its freed memory: the children would hold the old
    contents of all that the parent writes to afterwards.

    Returns:
        False where the C library is not GNU's, or held none.

    Source: malloc_trim(3) of the GNU C library.
    """
    try:
        return bool(ctypes.CDLL('libc.so.6').malloc_trim(0))
    except (OSError, AttributeError):
        return False
