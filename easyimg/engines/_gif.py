"""Walks over the blocks of a GIF, for what neither pixel library tells. Decodes nothing.

libvips shows a frame that is cut off as far as it goes, and says nothing. Pillow makes room for a frame larger than the
picture, up to 65,535 x 65,535 pixels, before it can be asked how large it is.

GIF89a, sections 15 (sub-blocks), 18 (screen), 20 (frames), 23 to 26 (extensions), 27 (trailer).
"""

from __future__ import annotations

import struct

from easyimg.errors import SourceUnreadable
from easyimg.geometry import Size

_FRAME, _EXTENSION = 0x2C, 0x21


def extent(data: bytes) -> Size:
    """Return how far the frames reach to the right and down, in pixels of the picture.

    Raises:
        SourceUnreadable: the last frame is cut off. A missing trailer is forgiven, as browsers do.
    """
    right = bottom = 0
    try:
        at = 13 + _palette_bytes(data[10])
        while at < len(data) and data[at] in (_FRAME, _EXTENSION):
            if data[at] == _EXTENSION:
                at = _after_blocks(data, at + 2)
                continue
            left, top, width, height, flags = struct.unpack_from("<4HB", data, at + 1)
            right, bottom = max(right, left + width), max(bottom, top + height)
            at = _after_blocks(data, at + 11 + _palette_bytes(flags))
    except (IndexError, struct.error) as exc:
        raise SourceUnreadable("the GIF ends inside a frame") from exc
    return Size(right, bottom)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return where what follows a chain of sub-blocks begins."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
