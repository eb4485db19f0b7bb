"""A writer of .rar files (version 4, stored), as Python has none.

The format: https://www.rarlab.com/technote.htm of version 4.
"""

import shutil
import struct
import zlib

import pytest

needs_rar = pytest.mark.skipif(
    not any(map(shutil.which, ('unrar', 'unar', 'bsdtar'))),
    reason='needs unrar, unar or bsdtar: apt-get install unar',
)


def _block(kind: int, flags: int, body: bytes) -> bytes:
    head = struct.pack('<BHH', kind, flags, 7 + len(body)) + body
    return struct.pack('<H', zlib.crc32(head) & 0xFFFF) + head


def make_rar(files: dict) -> bytes:
    """Make an archive of path -> content."""
    blocks = [b'Rar!\x1a\x07\x00', _block(0x73, 0, bytes(6))]
    for path, content in files.items():
        name = path.replace('/', '\\').encode()
        body = (
            struct.pack(
                '<IIBIIBBHI',
                len(content),
                len(content),
                3,
                zlib.crc32(content),
                0x5A21_0000,
                20,
                0x30,
                len(name),
                0o100644,
            )
            + name
        )
        blocks += [_block(0x74, 0x8000, body), content]
    return b''.join(blocks) + _block(0x7B, 0x4000, b'')
