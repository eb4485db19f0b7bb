"""A barrier for all programs of a grid, in Triton."""

import triton
import triton.language as tl


@triton.jit
def wait_for_all(counter, arrivals):
    """Wait until ``counter``, which each program raises by 1 here, has reached ``arrivals``.

    What a program stored before, all programs read after. All must be on the GPU at the same time,
    as a cooperative launch ensures.
    """
    tl.debug_barrier()  # all threads of the program have stored
    tl.atomic_add(counter, 1, sem='release', scope='gpu')
    while tl.atomic_add(counter, 0, sem='acquire', scope='gpu') < arrivals:
        pass
    tl.debug_barrier()
