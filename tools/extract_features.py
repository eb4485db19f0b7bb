"""``cnnlstm-mm extract`` as a script, without installation, too."""

import os
import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    # Set before torch starts its threads: waiting ones would take cores from the decoding workers.
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from cnnlstm_mm.commands.extract import main

if __name__ == '__main__':
    sys.exit(main())
