"""Everything that is written to a disk: atomic files, locks, stamps, and where a tool may write.

Imports the standard library and filelock, which PyTorch brings, alone.
"""

from .atomic import atomic_path, remove_parts, write_json, write_text
from .lock import InUseError, locked
from .output_folder import OutputFolder, is_below
from .outputs import check_outputs
from .stamp import check_stamp, differing_settings

__all__ = [
    'InUseError',
    'OutputFolder',
    'atomic_path',
    'check_outputs',
    'check_stamp',
    'differing_settings',
    'is_below',
    'locked',
    'remove_parts',
    'write_json',
    'write_text',
]
