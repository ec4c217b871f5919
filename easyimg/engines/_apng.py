"""APNG taken apart into its frames, each a PNG of its own. Reads chunks, decodes nothing.

libvips does not read APNG, and Pillow blends half-transparent frames so that what is below them becomes transparent.
PNG specification, third edition, sections 4.9 (frames), 11.3.6 (acTL, fcTL, fdAT) and 13.17 (blending).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from easyimg.errors import SourceUnreadable, shown
from easyimg.geometry import Size

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NOT_COPIED: Final = (b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND", b"eXIf", b"tEXt", b"zTXt", b"iTXt")


class Part(NamedTuple):
    """One frame of the file: what changes, and how it comes to the picture so far.

    Args:
        png: a still PNG of ``size``.
        size: pixels.
        left, top: where it lies in the picture.
        delay: milliseconds.
        clears, restores: whether its place becomes transparent, or what it was before, once the frame was shown.
        blends: whether it lies over the picture so far; False = replaces it.
    """

    png: bytes
    size: Size
    left: int
    top: int
    delay: float
    clears: bool
    restores: bool
    blends: bool


def frame_count(data: bytes) -> int:
    """Return how many frames a PNG's header promises: 1 for a still, or for an APNG that is none.

    Looks no further than the first pixel data.
    """
    found = _header(data)
    return found[0] if found else 1


def plays(data: bytes) -> int:
    """Return how often an APNG plays; 0 = for ever."""
    found = _header(data)
    return found[1] if found else 1


def parts(data: bytes) -> Iterator[Part]:
    """Return the frames in order; the default image is one of them only if the file says so.

    Raises:
        SourceUnreadable: a chunk is damaged, or frames are missing.
    """
    shared: list[bytes] = []
    promised, made, header = frame_count(data), 0, b""
    control, pixels, begun = b"", bytearray(), False
    for name, body in _chunks(data, checked=True):
        begun = begun or name in (b"IDAT", b"fdAT")
        if name in (b"fcTL", b"IEND"):
            if control and made < promised:
                yield _part(control, bytes(pixels), header, shared)
                made += 1
            control, pixels = body, bytearray()
        elif name == b"IDAT" and control:
            pixels += body
        elif name == b"fdAT":
            pixels += body[4:]
        elif name == b"IHDR":
            header = body
        elif name not in _NOT_COPIED and not begun:
            shared.append(_chunk(name, body))
    if made < promised:
        raise SourceUnreadable(f"the animation ends after {made} of {promised} frames")


def _header(data: bytes) -> tuple[int, int] | None:
    """Return the numbers of frames and plays from acTL, which stands before the first pixel data."""
    for name, body in _chunks(data, checked=False):
        if name == b"IDAT":
            break
        if name == b"acTL" and len(body) == 8:
            frames, repeats = struct.unpack(">II", body)
            return max(1, frames), repeats
    return None


def _chunks(data: bytes, *, checked: bool) -> Iterator[tuple[bytes, bytes]]:
    start = len(_SIGNATURE)
    while start + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[start : start + 8])
        body = data[start + 8 : start + 8 + length]
        after = data[start + 8 + length : start + 12 + length]
        if checked and (len(body) < length or after != struct.pack(">I", zlib.crc32(name + body))):
            raise SourceUnreadable(f"the PNG's chunk {shown(name)} is damaged or cut off")
        yield name, body
        start += 12 + length


def _part(control: bytes, pixels: bytes, header: bytes, shared: list[bytes]) -> Part:
    if len(control) != 26 or len(header) != 13:
        raise SourceUnreadable("the PNG's chunk fcTL or IHDR has a wrong length")
    _, width, height, left, top, over, under, dispose, blend = struct.unpack(">5I2H2B", control)
    canvas = struct.unpack(">II", header[:8])
    if not (0 < width <= canvas[0] - left and 0 < height <= canvas[1] - top):
        raise SourceUnreadable("a frame of the animation lies outside the picture")
    if not pixels:
        raise SourceUnreadable("a frame of the animation has no pixels")
    own = struct.pack(">II", width, height) + header[8:]
    chunks = (_chunk(b"IHDR", own), *shared, _chunk(b"IDAT", pixels), _chunk(b"IEND", b""))
    png = _SIGNATURE + b"".join(chunks)
    delay = 1000 * over / (under or 100)
    return Part(png, Size(width, height), left, top, delay, dispose == 1, dispose == 2, blend == 1)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
