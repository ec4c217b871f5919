"""Refuses what a header announces beside its width and height, before a decoder spends time or memory on it.

Both pixel libraries read headers piece by piece: of a JPEG of comments alone, Pillow made eleven seconds of work. And
both make room for a TIFF's tile, and for all samples of its pixels, before they know what is in them: 163 bytes took
one gigabyte.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from easyimg.errors import SourceTooLarge, SourceUnreadable

MOST_PARTS: Final = 1_000
"""Segments of a JPEG before its pixels, chunks of a PNG beside them, pages of a TIFF. Of a JPEG, 20 MB are 306 full
ones."""

MOST_PIECES: Final = 100_000
LEAST_PIECE: Final = 16
"""Sub-blocks of a GIF, or chunks of a PNG's pixels: more than so many are read if they have so many bytes on average.

Pillow reads them one by one, in Python: ten million of one byte took it 4 seconds, at each of several walks.
"""

MOST_STRAY: Final = 16_384
"""Bytes between the segments of a JPEG, or the blocks of a GIF, which decoders skip one by one; some cameras leave a
thousand."""

MOST_TILE_PIXELS: Final = 4096 * 4096
"""Of a TIFF's tile: those of real files have 512 x 512."""

MOST_SAMPLES: Final = 5
"""Of a TIFF's pixel: four inks and transparency."""

_KNOWN_BITS: Final = (0, 1, 2, 4, 8, 16)
"""Of a TIFF's sample; where it says nothing, it is 1. Of 12 bits, one library shows a picture that is nearly black."""

_MOST_ENTRIES: Final = 4_096


def check_header(data: bytes, format: str) -> None:
    """Refuse what would cost far more than the picture's size tells.

    Raises:
        SourceTooLarge: too many parts, or too large ones.
        SourceUnreadable: numbers of a kind that no page shows.
    """
    if format in _CHECKS:
        _CHECKS[format](data)


def _check_parts(count: int, what: str) -> None:
    if count > MOST_PARTS:
        raise SourceTooLarge(f"more than {MOST_PARTS:,} {what} are not read")


def _check_pieces(count: int, end: int, what: str) -> None:
    """Refuse more pieces than fit, up to where the last of them ends."""
    if count > MOST_PIECES and count * LEAST_PIECE > end:
        raise SourceTooLarge(f"more than {MOST_PIECES:,} {what} of few bytes are not read")


# JPEG: ITU-T T.81, annex B

_NOT_FILL: Final = re.compile(rb"[^\xff]")
_ALONE: Final = frozenset({0x00, 0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})
"""Second bytes that no length follows, or whose length a decoder does not read."""


_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the segments that tell size and channels."""


def _check_jpeg(data: bytes) -> None:
    at, parts, stray = 2, 0, 0
    while (found := _next_marker(data, at)) and data[found - 1] != 0xDA:  # the picture itself
        stray += found - at - 2
        at, marker = found, data[found - 1]
        parts += 1
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
            parts += _inner(data, marker, found, at)
        if stray > MOST_STRAY:
            raise SourceTooLarge(f"more than {MOST_STRAY:,} bytes between a JPEG's segments are not read")
        _check_parts(parts, "segments before a JPEG's picture")


def is_multiscan(data: bytes) -> bool:
    """Return whether a JPEG's first scan lacks some of its channels: a decoder holds all of it, as of a progressive."""
    at, channels = 2, 0
    while found := _next_marker(data, at):
        at, marker = found, data[found - 1]
        if marker == 0xDA:
            return int.from_bytes(data[at + 2 : at + 3], "big") < channels
        if marker in _FRAMES:
            channels = int.from_bytes(data[at + 7 : at + 8], "big")
        if marker not in _ALONE:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return False


def _next_marker(data: bytes, at: int) -> int:
    """Return what follows a marker, found as decoders do, which skip what is none, and fill; 0 where there is none."""
    first = data.find(b"\xff", at)
    if first < 0:
        return 0
    found = _NOT_FILL.search(data, first)
    return found.end() if found else 0


def _inner(data: bytes, marker: int, start: int, end: int) -> int:
    """Return how many parts a segment has itself: Pillow reads tables, and Photoshop's blocks, one by one."""
    if marker == 0xDB:
        return (end - start) // 65
    return data.count(b"8BIM", start, end) if marker == 0xED else 0


# PNG specification, third edition, section 5.3

_PIXELS: Final = frozenset({b"IDAT", b"fcTL", b"fdAT"})
_NAME: Final = re.compile(rb"(?!IEND)\w{4}")
"""Of a chunk, as Pillow sees it: at another one its reading ends."""


def _check_png(data: bytes) -> None:
    at, parts, pieces = 8, 0, 0
    while found := _NAME.match(data, at + 4):
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        if found[0] in _PIXELS:
            pieces += 1
            _check_pieces(pieces, at, "chunks of a PNG's pixels")
        else:
            parts += 1
            _check_parts(parts, "chunks beside a PNG's pixels")


# GIF89a, appendix A

_BLOCK: Final = re.compile(rb"[!,;]")
_FULL: Final = b"\xff" * 64


def _check_gif(data: bytes) -> None:
    """Walk over the blocks as decoders do, which also look for the next one where there is none."""
    at, pieces, stray = 13 + _palette(data, 10), 0, 0
    while at < len(data):
        found = _BLOCK.search(data, at)
        start = found.start() if found else len(data)
        stray += start - at
        if stray > MOST_STRAY:
            raise SourceTooLarge(f"more than {MOST_STRAY:,} bytes between a GIF's blocks are not read")
        if not found or found[0] == b";":
            return
        at = start + (2 if found[0] == b"!" else 11 + _palette(data, start + 9))
        at, pieces = _after_pieces(data, at, pieces + 1)


def _palette(data: bytes, at: int) -> int:
    """Return the bytes of the colours that follow, by the flags at a place."""
    flags = data[at] if at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_pieces(data: bytes, at: int, pieces: int) -> tuple[int, int]:
    """Return where a chain of sub-blocks ends, and how many there were so far."""
    while at < len(data) and (length := data[at]):
        if length == 255 and data[at : at + 256 * 64 : 256] == _FULL:  # most of a large file, in one step for 64
            at, pieces = at + 256 * 64, pieces + 64
            continue
        at, pieces = at + 1 + length, pieces + 1
        if pieces > MOST_PIECES:
            _check_pieces(pieces, at, "sub-blocks of a GIF")
    _check_pieces(pieces, at, "sub-blocks of a GIF")
    return at + 1, pieces


# TIFF 6.0, section 2; BigTIFF (libtiff's specification)

_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _KIND = 258, 277, 322, 323, 338, 339
_WHOLE: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Types of whole numbers."""

_ASKED: Final = frozenset({_BITS, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _EXTRA, _KIND})

_KINDS: Final = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}


def _check_tiff(data: bytes) -> None:
    form = _form(data)
    pages = _pages(data, form)
    first = _numbers(data, form, next(pages, len(data)))
    width, height = first[_TILE_WIDTH], first[_TILE_HEIGHT]
    if width * height > MOST_TILE_PIXELS:
        raise SourceTooLarge(
            f"a TIFF with tiles of {width:,} x {height:,} pixels; tiles of at most {MOST_TILE_PIXELS:,} pixels are read"
        )
    if first[_SAMPLES] > MOST_SAMPLES:
        raise SourceTooLarge(f"a TIFF of {first[_SAMPLES]:,} samples a pixel; at most {MOST_SAMPLES} are read")
    if first[_BITS] not in _KNOWN_BITS or first[_KIND] in _KINDS:
        raise SourceUnreadable(
            f"a TIFF of {first[_BITS]}-bit {_KINDS.get(first[_KIND], 'unsigned')} numbers; "
            "unsigned ones of 1, 2, 4, 8 and 16 bits are read"
        )
    for number, _ in enumerate(pages, start=2):
        _check_parts(number, "pages of a TIFF")


def is_opaque(data: bytes) -> bool:
    """Return whether no sample of a TIFF's pixels is transparency: they are colours, or of no known meaning.

    Editors keep masks and cut-outs in the latter: TIFF 6.0, section 18 (ExtraSamples). Four samples of which nothing
    more is said are taken for RGB and transparency.
    """
    form = _form(data)
    first = _numbers(data, form, next(_pages(data, form), len(data)))
    return not first[_EXTRA] if _EXTRA in first else first[_SAMPLES] in (1, 3)


class _Form(NamedTuple):
    """How a TIFF's numbers are stored: where the first directory is told, and three layouts."""

    start: int
    at: struct.Struct
    length: struct.Struct
    entry: struct.Struct
    order: str


def _form(data: bytes) -> _Form:
    order = "<" if data[:2] == b"II" else ">"
    start, layouts = (8, ("Q", "Q", "HHQ8s")) if 43 in data[2:4] else (4, ("I", "H", "HHI4s"))
    at, length, entry = (struct.Struct(order + layout) for layout in layouts)
    return _Form(start, at, length, entry, order)


def _pages(data: bytes, form: _Form) -> Iterator[int]:
    """Yield where each page's directory begins; ends where the chain leaves the file or comes round."""
    seen, pointer = set(), form.start
    while pointer + form.at.size <= len(data):
        (at,) = form.at.unpack_from(data, pointer)
        if not at or at in seen or at + form.length.size > len(data):
            return
        yield at
        seen.add(at)
        (count,) = form.length.unpack_from(data, at)
        pointer = at + form.length.size + count * form.entry.size


def _numbers(data: bytes, form: _Form, at: int) -> Counter[int]:
    """Return the numbers asked for by tag; of several the greatest, since readers differ in which they take."""
    found: Counter[int] = Counter()
    if at + form.length.size > len(data):
        return found
    (count,) = form.length.unpack_from(data, at)
    if count > _MOST_ENTRIES:
        raise SourceTooLarge(f"a TIFF of {count:,} tags a page; at most {_MOST_ENTRIES:,} are read")
    start = at + form.length.size
    room = (len(data) - start) // form.entry.size
    for tag, kind, many, value in form.entry.iter_unpack(data[start : start + min(count, room) * form.entry.size]):
        if tag in _ASKED and kind in _WHOLE:
            found[tag] = max(found[tag], *_values(data, form, kind, many, value), 0)
    return found


def _values(data: bytes, form: _Form, kind: int, many: int, value: bytes) -> tuple[int, ...]:
    """Return the first numbers of an entry, which stand in it where there is room, else where it says."""
    layout = struct.Struct(f"{form.order}{min(many, MOST_SAMPLES)}{_WHOLE[kind]}")
    if many * struct.calcsize(_WHOLE[kind]) <= len(value):
        return layout.unpack_from(value)
    (at,) = form.at.unpack(value)
    return layout.unpack_from(data, at) if at + layout.size <= len(data) else ()


_CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    "jpeg": _check_jpeg,
    "png": _check_png,
    "gif": _check_gif,
    "tiff": _check_tiff,
}
