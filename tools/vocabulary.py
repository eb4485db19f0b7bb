"""``cnnlstm-mm vocabulary`` as a script, without installation, too."""

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cnnlstm_mm.commands.vocabulary import main

if __name__ == '__main__':
    sys.exit(main())
