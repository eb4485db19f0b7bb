"""Imported by the config of a training under torchrun: its processes write down their numbers."""

import os
import time
from pathlib import Path

RANK, RESTARTS = os.environ['RANK'], int(os.environ['TORCHELASTIC_RESTART_COUNT'])

Path(os.environ['PIDS'], f'{RANK}_{RESTARTS}').write_text(str(os.getpid()))
if RANK == '0' and RESTARTS:
    # The others must not take the address that it had before it was lost.
    time.sleep(10)  # longer than gloo tries
