"""Walks over the blocks of a GIF, for what neither pixel library tells. Decodes nothing.

libvips shows a frame that is cut off as far as it goes, and says nothing. Pillow makes room for a frame larger than the
picture, up to 65,535 x 65,535 pixels, before it can be asked how large it is. And where no frame has drawn yet, or one
was cleared, both show a colour of their own, unless the file has a transparent one; browsers show what is behind the
picture.

GIF89a, sections 15 (sub-blocks), 18 (screen), 20 (frames), 23 to 26 (extensions), 27 (trailer).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from easyimg.errors import SourceUnreadable
from easyimg.geometry import Size

if TYPE_CHECKING:
    from PIL import Image

_FRAME, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9
_CLEARS, _RESTORES = 2, 3


class Placed(NamedTuple):
    """Where a frame draws, in pixels of the picture, and what becomes of the place once the frame was shown."""

    left: int
    top: int
    width: int
    height: int
    disposal: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.width, self.top + self.height


def extent(data: bytes) -> Size:
    """Return how far the frames reach to the right and down, in pixels of the picture.

    Raises:
        SourceUnreadable: the last frame is cut off. A missing trailer is forgiven, as browsers do.
    """
    right = bottom = 0
    for frame in placed(data):
        right, bottom = max(right, frame.box[2]), max(bottom, frame.box[3])
    return Size(right, bottom)


def placed(data: bytes) -> Iterator[Placed]:
    """Yield the frames; reads no further than to the head of the one yielded.

    Raises:
        SourceUnreadable: the last frame is cut off.
    """
    disposal = 0
    try:
        at = 13 + _palette_bytes(data[10])
        while at < len(data) and data[at] in (_FRAME, _EXTENSION):
            if data[at] == _EXTENSION:
                if data[at + 1] == _CONTROL:
                    disposal = data[at + 3] >> 2 & 7
                at = _after_blocks(data, at + 2)
                continue
            left, top, width, height, flags = struct.unpack_from("<4HB", data, at + 1)
            yield Placed(left, top, width, height, disposal)
            at, disposal = _after_blocks(data, at + 11 + _palette_bytes(flags)), 0
    except (IndexError, struct.error) as exc:
        raise SourceUnreadable("the GIF ends inside a frame") from exc


def is_covered(data: bytes, size: Size) -> bool:
    """Return whether the first frame draws all of the picture, or there is none."""
    left, top, width, height, _ = next(placed(data), Placed(0, 0, *size, 0))
    return (left, top) == (0, 0) and width >= size.width and height >= size.height


def clears(data: bytes) -> bool:
    """Return whether the place of any frame is cleared once it was shown."""
    return any(frame.disposal == _CLEARS for frame in placed(data))


def covers(data: bytes, size: Size) -> Iterator[Image.Image]:
    """Yield for each frame, and then for ever, where the picture was drawn so far: 255 there, else 0."""
    from PIL import Image

    mask = Image.new("L", size)
    for frame in placed(data):
        before = mask.copy() if frame.disposal == _RESTORES else None
        mask.paste(255, frame.box)
        yield mask.copy()
        if frame.disposal == _CLEARS:
            mask.paste(0, frame.box)
        elif before is not None:
            mask = before
    while True:
        yield mask.copy()


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Return where what follows a chain of sub-blocks begins."""
    while data[at]:
        at += 1 + data[at]
    return at + 1
