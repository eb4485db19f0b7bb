"""What a decoder may do at its worst, for the test of the harness."""

import os
import signal
import time


def check(case, place):
    if case == 'hang':
        return [], lambda: time.sleep(60)
    return [], lambda: os.kill(os.getpid(), signal.SIGSEGV)
