"""Files whose headers announce what would cost an engine memory or time, or that end before their picture does.

Like :mod:`easyimg.testing.images`: made on the spot, the same bytes every time, files of nobody's rights.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

from PIL import Image

from easyimg.testing import images


def tiff(
    width: int = 100,
    height: int = 100,
    *,
    samples: int = 1,
    bits: int = 8,
    kind: int = 1,
    tile: tuple[int, int] | None = None,
    pages: int = 1,
    order: str = "<",
) -> bytes:
    """Return a black TIFF, compressed (TIFF 6.0, sections 2, 15 and 19; Adobe's compression 8).

    Args:
        width, height: pixels.
        samples: numbers of each pixel.
        bits: of each number.
        kind: of the numbers: 1 unsigned, 2 signed, 3 floating-point.
        tile: width and height of the tiles; the data are of one row all the same.
        pages: so many, each the same.
        order: ``"<"`` or ``">"``.
    """
    row = width * samples * bits // 8
    pixels = zlib.compress(bytes(row if tile else row * height), 1)
    fields = {256: width, 257: height, 258: bits, 259: 8, 262: 1 if samples < 3 else 2, 277: samples, 339: kind}
    size, data = 2 + 12 * (len(fields) + (4 if tile else 3)) + 4, 8
    if tile:
        fields |= {322: tile[0], 323: tile[1], 324: data, 325: len(pixels)}
    else:
        fields |= {273: data, 278: height, 279: len(pixels)}
    start, made = data + len(pixels), bytearray()
    for page in range(pages):
        after = start + (page + 1) * size if page + 1 < pages else 0
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, fields[tag]) for tag in sorted(fields))
        made += struct.pack(f"{order}H", len(fields)) + entries + struct.pack(f"{order}I", after)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start) + pixels + bytes(made)


def jpeg_of_segments(count: int, *, marker: int = 0xFE, body: bytes = b"", stray: int = 0) -> bytes:
    """Return a photograph with so many segments before it, and bytes that belong to none."""
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body
    photo = images.photo(80, 60)
    return photo[:2] + segment * count + bytes(stray) + photo[2:]


def jpeg_in_scans(width: int = 64, height: int = 64) -> bytes:
    """Return a grey JPEG that is not progressive and has a scan for each of its three channels (ITU-T T.81, annex B).

    Args:
        width, height: multiples of 16, pixels.
    """

    def segment(marker: int, body: bytes) -> bytes:
        return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body

    frame = struct.pack(">BHHB", 8, height, width, 3) + b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    codes = [bytes((kind, 1)) + bytes(16) for kind in (0x00, 0x10)]  # the only code, of one bit: no change, no detail
    blocks = bytes(width * height // 64 * 2 // 8)
    scans = [segment(0xDA, bytes((1, number, 0, 0, 63, 0))) + blocks for number in (1, 2, 3)]
    head = segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC0, frame) + b"".join(segment(0xC4, code) for code in codes)
    return b"\xff\xd8" + head + b"".join(scans) + b"\xff\xd9"


def png_of_chunks(count: int, name: bytes = b"teST", *, after: bool = False) -> bytes:
    """Return a photograph with so many empty chunks before, or after, its pixels."""
    chunk = struct.pack(">I", 0) + name + struct.pack(">I", zlib.crc32(name))
    photo = images.photo(80, 60, format="png")
    at = len(photo) - 12 if after else 33
    return photo[:at] + chunk * count + photo[at:]


def gif_of_pieces(count: int, *, comment: bool = True, stray: int = 0) -> bytes:
    """Return a photograph as a GIF with so many sub-blocks of one byte more, and bytes that belong to no block.

    Args:
        count: of the sub-blocks.
        comment: whether they are a comment before the pixels; False = they follow these.
        stray: bytes before the end.
    """
    photo = images.photo(80, 60, format="gif")
    pieces = b"\1x" * count
    if comment:
        at = photo.index(b"," + struct.pack("<4H", 0, 0, 80, 60))
        return photo[:at] + b"!\xfe" + pieces + b"\0" + photo[at:-1] + bytes(stray) + b";"
    return photo[:-2] + pieces + b"\0;"


def avif_inside(inside: tuple[int, int], told: tuple[int, int]) -> bytes:
    """Return an AVIF of one colour that says one size in its boxes, and holds a picture of another."""
    data = bytearray(images.encoded(Image.new("RGB", inside, images.GREEN), "avif", quality=30, speed=10))
    place = data.index(b"ispe") + 8
    data[place : place + 8] = struct.pack(">II", *told)
    return bytes(data)


def gif_cut_short(kept: float = 0.5) -> bytes:
    """Return a photograph as a GIF whose pixels end early, and whose blocks do not: nothing is missing but rows."""
    data = images.photo(200, 150, format="gif")
    at = data.index(b"," + struct.pack("<4H", 0, 0, 200, 150))
    flags = data[at + 9]
    start = place = at + 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
    blocks = []
    while data[place]:
        blocks.append(data[place : place + 1 + data[place]])
        place += len(blocks[-1])
    return data[:start] + b"".join(blocks[: int(len(blocks) * kept)]) + b"\0;"


def gif_with_margins(frames: Sequence[tuple[int, int, int | None]] = ((2, 2, 1),), canvas: int = 8) -> bytes:
    """Return a GIF of green squares of 4 x 4 pixels, most on a canvas that they do not cover; none is transparent.

    Args:
        frames: of each: left, top, and what happens to its place: 1 it stays, 2 it is cleared, 3 it is put back,
            None the frame says nothing of that, nor of its delay.
        canvas: width and height, pixels.
    """
    square = Image.new("P", (4, 4), 1)
    square.putpalette([0, 0, 255, *images.GREEN])
    out = io.BytesIO()
    square.save(out, "GIF")
    still = out.getvalue()
    at = still.index(b"," + struct.pack("<4H", 0, 0, 4, 4))
    head, rest = bytearray(still[:at]), still[at + 5 : still.rindex(b";")]
    head[6:10] = struct.pack("<2H", canvas, canvas)
    head[11] = 1  # the background colour, which browsers ignore: black
    made = bytes(head)
    for left, top, disposal in frames:
        if disposal is not None:
            made += struct.pack("<4BHBB", 0x21, 0xF9, 4, disposal << 2, 10, 0, 0)
        made += b"," + struct.pack("<2H", left, top) + rest
    return made + b";"
