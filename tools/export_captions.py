"""``cnnlstm-mm export-captions`` as a script, without installation, too."""

import sys
from pathlib import Path

if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cnnlstm_mm.commands.export_captions import main

if __name__ == '__main__':
    sys.exit(main())
