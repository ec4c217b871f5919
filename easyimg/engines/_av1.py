"""How large the pictures inside an AVIF file are, by their own headers, which its boxes may contradict.

A decoder makes room for what is inside: a file that calls itself 64 x 64 pixels may hold 16,384 x 16,384, and libavif
shrinks them without a word. Decodes nothing.

Boxes: ISO/IEC 14496-12; items: ISO/IEC 23008-12; pictures: AV1 Bitstream & Decoding Process, sections 5.3 and 5.5.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from easyimg.errors import SourceTooLarge, SourceUnreadable, UnsupportedFormat
from easyimg.formats import DEFAULT_ALLOWED
from easyimg.geometry import Size

_ALWAYS: Final = 1024 * 1024
"""Pixels that a picture inside may have whatever the file says: cells of a grid, of 512 x 512 as a rule, reach over."""

_MARGIN: Final = 256
"""Pixels by which it may be wider, and higher, than the file says: padded to whole blocks, or cut (``clap``)."""

_MOST: Final = 1_000
"""Boxes of one level, items, or units of a picture."""

_HEADER: Final = 400
"""Bytes that hold the longest sequence header up to its size."""


def check_av1(data: bytes) -> None:
    """Refuse a file that calls itself AVIF and holds another codec's picture: its header opens, its pixels never would.

    Every AV1 picture has its configuration box (AV1-ISOBMFF, section 2.3); HEVC's is ``hvcC``.
    """
    if b"av1C" not in data:
        found = "HEVC" if b"hvcC" in data else "another codec"
        raise UnsupportedFormat(f"{found} in a file that calls itself AVIF", DEFAULT_ALLOWED)


def check_coded_size(data: bytes, size: Size) -> None:
    """Refuse an AVIF that holds a picture larger than the size its boxes say.

    Raises:
        SourceTooLarge: it does.
        SourceUnreadable: it cannot be told.
    """
    try:
        pictures: dict[int, list[Size]] = {}
        for number, picture in _pictures(data):
            pictures.setdefault(number, []).extend(_sizes(picture))
        grids = list(_grids(data))
    except (struct.error, LookupError, ValueError) as exc:
        raise SourceUnreadable("the AVIF's boxes or picture headers are damaged") from exc
    sizes = [found for some in pictures.values() for found in some]
    if not sizes:
        raise SourceUnreadable("the AVIF holds no picture header")
    largest = max(sizes, key=_pixels)
    if _pixels(largest) > max(_ALWAYS, _pixels(Size(size.width + _MARGIN, size.height + _MARGIN))):
        raise SourceTooLarge(
            f"{largest.width} x {largest.height} pixels inside an AVIF that calls itself {size.width} x {size.height}"
        )
    for grid in grids:
        _check_cells([found for number in grid for found in pictures.get(number, ())], size)


def _check_cells(cells: list[Size], size: Size) -> None:
    """Refuse cells that lie outside of the picture: a decoder may take minutes for them, and show none of it.

    Each begins inside (ISO/IEC 23000-22, section 7.3.11.4.2), so that there is one too much on each axis at most.
    """
    if len(cells) < 2:
        return
    room = Size(size.width + max(cell.width for cell in cells), size.height + max(cell.height for cell in cells))
    if sum(map(_pixels, cells)) > _pixels(room):
        raise SourceTooLarge(f"{len(cells)} cells are more than cover an AVIF of {size.width} x {size.height} pixels")


def _pixels(size: Size) -> int:
    return size.width * size.height


class _Box(NamedTuple):
    name: bytes
    start: int
    end: int


def _boxes(data: bytes, start: int, end: int) -> Iterator[_Box]:
    """Yield the boxes between two places; of the last, as much as there is."""
    for _ in range(_MOST):
        if start + 8 > end:
            return
        length, name = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, body)
            body += 8
        stop = end if length == 0 else min(end, start + length)
        if stop < body:
            raise ValueError("a box shorter than its own header")
        yield _Box(name, body, stop)
        start = stop
    raise ValueError("more boxes than a picture has")


def _within(data: bytes, box: _Box, *path: bytes) -> Iterator[_Box]:
    """Yield the boxes at the end of a path below a box."""
    for inner in _boxes(data, box.start, box.end):
        if inner.name == path[0]:
            yield from _within(data, inner, *path[1:]) if path[1:] else (inner,)


def _pictures(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and data of every AV1 item, and data of the first picture of every track, numbered downwards."""
    tracks = 0
    for box in _boxes(data, 0, len(data)):
        if box.name == b"meta":
            yield from _items(data, box._replace(start=box.start + 4))
        elif box.name == b"moov":
            for table in _within(data, box, b"trak", b"mdia", b"minf", b"stbl"):
                tracks += 1
                tables = {inner.name: inner.start for inner in _boxes(data, table.start, table.end)}
                yield -tracks, _first_sample(data, tables)


def _grids(data: bytes) -> Iterator[tuple[int, ...]]:
    """Yield the numbers of the items that each derived picture is made of; an item may be there many times."""
    for meta in _boxes(data, 0, len(data)):
        for box in _within(data, meta._replace(start=meta.start + 4), b"iref") if meta.name == b"meta" else ():
            number = "I" if data[box.start] else "H"
            for reference in _boxes(data, box.start + 4, box.end):
                if reference.name == b"dimg":
                    _, count = struct.unpack_from(f">{number}H", data, reference.start)
                    if count > _MOST:
                        raise ValueError("more cells than a picture has")
                    at = reference.start + struct.calcsize(f">{number}H")
                    yield struct.unpack_from(f">{count}{number}", data, at)


def _first_sample(data: bytes, tables: dict[bytes, int]) -> bytes:
    (length,) = struct.unpack_from(">I", data, tables[b"stsz"] + 4)
    if not length:
        (length,) = struct.unpack_from(">I", data, tables[b"stsz"] + 12)
    if b"stco" in tables:
        (at,) = struct.unpack_from(">I", data, tables[b"stco"] + 8)
    else:
        (at,) = struct.unpack_from(">Q", data, tables[b"co64"] + 8)
    return data[at : at + length]


def _items(data: bytes, meta: _Box) -> Iterator[tuple[int, bytes]]:
    boxes = {box.name: box for box in _boxes(data, meta.start, meta.end)}
    if b"iloc" not in boxes or b"iinf" not in boxes:
        return
    wanted = set(_coded_items(data, boxes[b"iinf"]))
    inside = boxes.get(b"idat")
    for number, method, extents in _places(data, boxes[b"iloc"].start):
        if number not in wanted:
            continue
        if method > 1 or (method == 1 and inside is None) or sum(length for _, length in extents) > len(data):
            raise ValueError("an item that lies nowhere")
        base = inside.start if method == 1 and inside else 0
        yield number, b"".join(data[base + at : base + at + length] for at, length in extents)


def _coded_items(data: bytes, box: _Box) -> Iterator[int]:
    """Yield the numbers of the items that are AV1 pictures."""
    at = box.start + (6 if data[box.start] == 0 else 8)
    for entry in _boxes(data, at, box.end):
        layout = ">HH4s" if data[entry.start] < 3 else ">IH4s"
        number, _, kind = struct.unpack_from(layout, data, entry.start + 4)
        if kind == b"av01":
            yield number


def _places(data: bytes, at: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield each item's number, the kind of its place, and its pieces as places and lengths, from an ``iloc`` box."""
    stream = io.BytesIO(data)
    stream.seek(at)

    def number(length: int) -> int:
        piece = stream.read(length)
        if len(piece) < length:
            raise IndexError("the box ends early")
        return int.from_bytes(piece, "big")

    version, _, lengths, left = number(1), number(3), number(2), _MOST
    of_offset, of_length, of_base, of_index = (lengths >> shift & 15 for shift in (12, 8, 4, 0))
    long = 4 if version == 2 else 2
    for _ in range(number(long)):
        item, method = number(long), number(2) & 15 if version else 0
        _, base, count = number(2), number(of_base), number(2)
        left -= 1 + count
        if left < 0:
            raise ValueError("more pieces than a picture has")
        extents = []
        for _ in range(count):
            number(of_index if version else 0)
            extents.append((base + number(of_offset), number(of_length)))
        if not all(length for _, length in extents):
            raise ValueError("a piece without a length")
        yield item, method, extents


def _sizes(picture: bytes) -> Iterator[Size]:
    """Yield the sizes that the sequence headers of a picture say; one is the rule."""
    at = 0
    for _ in range(_MOST):
        if at >= len(picture):
            return
        head = picture[at]
        at += 2 if head & 4 else 1
        length = len(picture) - at
        if head & 2:
            length, at = _leb128(picture, at)
        if head >> 3 & 15 == 1:
            yield _sequence_size(_Bits(picture[at : at + min(length, _HEADER)]))
        at += length
    raise ValueError("more units than a picture has")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(8):
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a length of more than eight bytes")


class _Bits:
    """Reads numbers of any count of bits."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError("the header ends early")
        return self._value >> self._left & (1 << count) - 1

    def skip_uvlc(self) -> None:
        zeros = 0
        while not self.read(1):
            zeros += 1
        self.read(zeros if zeros < 32 else 0)


def _sequence_size(bits: _Bits) -> Size:
    """Return the greatest size of a sequence header's pictures (section 5.5.1)."""
    bits.read(4)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        _skip_operating_points(bits)
    of_width, of_height = bits.read(4) + 1, bits.read(4) + 1
    return Size(bits.read(of_width) + 1, bits.read(of_height) + 1)


def _skip_operating_points(bits: _Bits) -> None:
    delay = None
    if bits.read(1):  # timing_info
        bits.read(64)
        if bits.read(1):
            bits.skip_uvlc()
        if bits.read(1):  # decoder_model_info
            delay = bits.read(5) + 1
            bits.read(42)
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        if bits.read(5) > 7:
            bits.read(1)
        if delay is not None and bits.read(1):
            bits.read(2 * delay + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
