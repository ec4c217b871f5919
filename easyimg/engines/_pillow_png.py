"""What Pillow does not do for PNG: notice that the pixels end early, and scale the key colour of a few greys.

Of data that end before the picture does, it leaves the missing rows black and says nothing. Checked only where it can
matter, when the last pixel is zero: inflating twice would cost every PNG a third more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from PIL import Image

from easyimg.errors import SourceUnreadable

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_STEP: Final = 1 << 20  # bytes inflated at a time: a bomb is never held


def check_complete(data: bytes, decoded: Image.Image) -> None:
    """Refuse a PNG that holds fewer rows than its header says; call it before the pixels are converted."""
    last = decoded.getpixel((decoded.width - 1, decoded.height - 1))
    interlaced = bool(decoded.info.get("interlace"))
    if not interlaced and any(last if isinstance(last, tuple) else (last,)):
        return
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    bits = depth * _CHANNELS[kind]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    expected = sum(_pass_bytes(width, height, bits, *one) for one in passes)
    if _inflated(data, expected) < expected:
        raise SourceUnreadable("the PNG's pixels end before its last row")


def scale_key(data: bytes, decoded: Image.Image) -> None:
    """Scale the transparent grey of a PNG of 2 or 4 bits to 0-255, as Pillow (13.0) has scaled its pixels.

    PNG specification, third edition, section 11.3.1.1 (tRNS).
    """
    depth, kind = data[24:26]
    key = decoded.info.get("transparency")
    if kind == 0 and depth in (2, 4) and isinstance(key, int):
        decoded.info["transparency"] = key * 255 // ((1 << depth) - 1)


def _pass_bytes(width: int, height: int, bits: int, x: int, y: int, step_x: int, step_y: int) -> int:
    """Return the bytes of one pass: rows with a filter byte each (PNG specification, sections 7.2 and 8)."""
    columns, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
    return rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0


def _inflated(data: bytes, enough: int) -> int:
    """Return how many bytes the image data inflate to, counting no further than ``enough``."""
    inflate, total = zlib.decompressobj(), 0
    for chunk in _image_data(data):
        rest = chunk
        while rest and total < enough:
            total += len(inflate.decompress(rest, _STEP))
            rest = inflate.unconsumed_tail
    return total


def _image_data(data: bytes) -> Iterator[bytes]:
    start = 8
    while start + 8 <= len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        if data[start + 4 : start + 8] == b"IDAT":
            yield data[start + 8 : start + 8 + length]
        start += 12 + length
