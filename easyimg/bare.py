"""A picture's file without anything but the picture: EXIF, XMP, comments and previews taken out, pixels untouched.

Segments of JPEG: ITU-T T.81, annex B; chunks of WebP: RFC 9649, section 2.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Final

_PLAIN: Final = ("RGB", "L")
"""What Pillow calls pictures without transparency, palette or other inks."""

_JFIF_LENGTH: Final = 16
"""Of its segment without a preview."""

_EXIF_AND_XMP: Final = 0x08 | 0x04
"""Flags of a VP8X chunk."""


def bare(data: bytes, format: str) -> bytes | None:
    """Return a file that holds a picture in plain colours, and nothing beside it.

    None where that would be another picture: it has a colour profile, transparency or other inks; or where it cannot be
    done: the format is not JPEG or WebP, or the file is damaged.
    """
    from PIL import Image

    strip = _STRIP.get(format)
    try:
        parts = list(strip(data)) if strip else []
        if not parts:
            return None
        left = b"".join(parts)
        with Image.open(io.BytesIO(left), formats=[format]) as image:
            return left if image.mode in _PLAIN and "icc_profile" not in image.info else None
    except (OSError, IndexError, SyntaxError):
        return None


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    at = 2
    while data[at + 1] != 0xDA:  # the picture itself
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] != 0xFF or end >= len(data):
            raise IndexError("no marker, or a segment beyond the end")
        is_jfif = marker == 0xE0 and end - at - 2 == _JFIF_LENGTH
        is_profile = marker == 0xE2 and data[at + 4 : at + 15] == b"ICC_PROFILE"
        is_adobe = marker == 0xEE  # says how colours are meant
        if is_jfif or is_profile or is_adobe or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            yield data[at:end]
        at = end
    yield data[at:]


def _webp(data: bytes) -> Iterator[bytes]:
    kept = []
    at = 12
    while at + 8 <= len(data):
        name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        end += end % 2
        if name == b"VP8X":
            kept.append(data[at : at + 8] + bytes([data[at + 8] & ~_EXIF_AND_XMP]) + data[at + 9 : end])
        elif name not in (b"EXIF", b"XMP "):
            kept.append(data[at:end])
        at = end
    yield data[:4] + (4 + sum(map(len, kept))).to_bytes(4, "little") + data[8:12]
    yield from kept


_STRIP: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {"jpeg": _jpeg, "webp": _webp}
