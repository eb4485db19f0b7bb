"""``cnnlstm-mm prepare vatex`` as a script, without installation, too."""

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cnnlstm_mm.commands.prepare.vatex import main

if __name__ == '__main__':
    sys.exit(main())
