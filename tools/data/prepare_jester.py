"""``cnnlstm-mm prepare jester`` as a script, without installation, too."""

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cnnlstm_mm.commands.prepare.jester import main

if __name__ == '__main__':
    sys.exit(main())
