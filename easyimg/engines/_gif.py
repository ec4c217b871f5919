"""Finds GIF files that end inside a frame: libvips shows such a frame as far as it goes and says nothing.

GIF89a, sections 15 (sub-blocks), 18 (screen), 20 (frames), 23 to 26 (extensions), 27 (trailer).
"""

from __future__ import annotations

from easyimg.errors import SourceUnreadable

_FRAME, _EXTENSION = 0x2C, 0x21


def check_whole(data: bytes) -> None:
    """Refuse a GIF whose last frame is cut off. Decodes nothing; a missing trailer is forgiven, as browsers do."""
    try:
        at = 13 + _palette_bytes(data[10])
        while at < len(data) and data[at] in (_FRAME, _EXTENSION):
            at = _after_blocks(data, at + 2 if data[at] == _EXTENSION else at + 11 + _palette_bytes(data[at + 9]))
    except IndexError as exc:
        raise SourceUnreadable("the GIF ends inside a frame") from exc


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return where what follows a chain of sub-blocks begins."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
