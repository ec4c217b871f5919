"""Pictures of the uncommon kinds that cameras, presses and editors write, and files that say more than they show.

Like :mod:`easyimg.testing.images`: made on the spot, the same bytes every time, files of nobody's rights.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from PIL import Image, PngImagePlugin, TiffImagePlugin

SECRET: Final = b"SECRET-that-no-variant-may-tell"
"""Stands in every kind of metadata of :func:`talkative`."""

Ink = tuple[int, int, int, int]
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}


def deep_png(pixel: Sequence[int], width: int = 64, height: int = 48, *, key: Sequence[int] | None = None) -> bytes:
    """Return a PNG of one colour with 16 bits a channel, which Pillow cannot write.

    Args:
        pixel: 1, 2, 3 or 4 values of 0-65,535: grey, grey and alpha, RGB, RGBA.
        width, height: pixels.
        key: a colour that means transparent (a ``tRNS`` chunk); of 1 or 3 values.
    """
    kind = next(kind for kind, channels in _CHANNELS.items() if channels == len(pixel))
    row = b"\0" + struct.pack(f">{len(pixel)}H", *pixel) * width
    transparent = [(b"tRNS", struct.pack(f">{len(key)}H", *key))] if key is not None else []
    header = struct.pack(">2I5B", width, height, 16, kind, 0, 0, 0)
    return _png([(b"IHDR", header), *transparent, (b"IDAT", zlib.compress(row * height)), (b"IEND", b"")])


def plain_tiff(
    pixel: Sequence[int],
    width: int = 64,
    height: int = 48,
    *,
    bits: int = 8,
    photometric: int = 2,
    extra: Sequence[int] = (),
    fields: Sequence[tuple[int, int, Sequence[int]]] = (),
    order: str = ">",
) -> bytes:
    """Return a TIFF of one colour, not compressed, of a kind that Pillow cannot write (TIFF 6.0, sections 2 and 8).

    Args:
        pixel: its samples, each below two to the power of ``bits``.
        width, height: pixels.
        bits: of each sample.
        photometric: 0 grey of which 0 is white, 1 grey, 2 RGB, 5 CMYK.
        extra: what the last samples are: 0 nothing known, 1 premultiplied transparency, 2 transparency (section 18).
        fields: further fields: tag, type 1 (bytes) or 3 (16 bits), values.
        order: ``"<"`` or ``">"``.
    """
    digits = "".join(f"{value:0{bits}b}" for value in pixel) * width
    digits += "0" * (-len(digits) % 8)
    row = int(digits, 2).to_bytes(len(digits) // 8, "big")
    if bits == 16 and order == "<":
        row = struct.pack(f"<{len(row) // 2}H", *struct.unpack(f">{len(row) // 2}H", row))
    pixels = row * height + bytes(len(row * height) % 2)
    known = [(256, [width]), (257, [height]), (258, [bits] * len(pixel)), (259, [1]), (262, [photometric]), (273, [8])]
    known += [(277, [len(pixel)]), (278, [height])] + ([(338, list(extra))] if extra else [])
    tables, values = [], b""
    start = 8 + len(pixels)
    for tag, kind, numbers in sorted([*((tag, 3, numbers) for tag, numbers in known), *fields]):
        value = struct.pack(f"{order}{len(numbers)}{'B' if kind == 1 else 'H'}", *numbers)
        if len(value) > 4:
            value, values = struct.pack(order + "I", start + len(values)), values + value + bytes(len(value) % 2)
        tables.append(struct.pack(order + "2HI", tag, kind, len(numbers)) + value.ljust(4, b"\0"))
    tables.append(struct.pack(order + "2H2I", 279, 4, 1, len(pixels)))
    tables.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
    table = struct.pack(order + "H", len(tables)) + b"".join(tables) + bytes(4)
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(order + "I", start + len(values))
        + pixels
        + values
        + table
    )


def bilevel_with_key(width: int = 64, height: int = 48) -> bytes:
    """Return a 1-bit PNG, black on the left, white on the right; white means transparent."""
    image = Image.new("1", (width, height), 0)
    image.paste(1, (width // 2, 0, width, height))
    return _file(image, "PNG", transparency=1)


def greys_with_key(bits: int, key: int, width: int = 64, height: int = 48) -> bytes:
    """Return a PNG of 2 or 4 bits with all its greys from left to right, dark to light; one means transparent.

    Args:
        bits: of a pixel.
        key: the grey that is transparent, 0 to two to the power of ``bits``, without the end.
        width, height: pixels; the width is a multiple of the number of greys.
    """
    greys = 1 << bits
    digits = "".join(f"{x * greys // width:0{bits}b}" for x in range(width))
    row = b"\0" + int(digits, 2).to_bytes(len(digits) // 8, "big")
    header = struct.pack(">2I5B", width, height, bits, 0, 0, 0, 0)
    pixels = zlib.compress(row * height)
    return _png([(b"IHDR", header), (b"tRNS", struct.pack(">H", key)), (b"IDAT", pixels), (b"IEND", b"")])


def palette_with_levels(width: int = 64, height: int = 48) -> bytes:
    """Return a palette PNG of four blue stripes, 0, 85, 170 and 255 opaque from left to right."""
    image = Image.new("P", (width, height), 0)
    image.putpalette([20, 40, 230] * 4)
    for i in range(4):
        image.paste(i, (width * i // 4, 0, width * (i + 1) // 4, height))
    return _file(image, "PNG", transparency=bytes((0, 85, 170, 255)))


def cmyk_file(ink: Ink, format: str, profile: bytes | None, width: int = 64, height: int = 48) -> bytes:
    """Return a JPEG (inverted, with Adobe's marker) or TIFF of one mixture of inks, 0-255 each."""
    options: dict[str, Any] = {"quality": 95} if format == "jpeg" else {}
    if profile is not None:
        options["icc_profile"] = profile
    return _file(Image.new("CMYK", (width, height), ink), format.upper(), **options)


def ycck(ink: Ink, width: int = 64, height: int = 48) -> bytes:
    """Return the same inks as Photoshop writes them: a JPEG whose cyan, magenta and yellow are stored as YCbCr.

    That is transform 2 of Adobe's marker (Adobe Technical Note 5116). Pillow writes CMYK without it, so the picture
    is turned to YCbCr here and only the marker's last byte says so.
    """
    luma, blue, red = Image.new("RGB", (width, height), ink[:3]).convert("YCbCr").split()
    black = Image.new("L", (width, height), ink[3])
    stored = [channel.point([255 - value for value in range(256)]) for channel in (luma, blue, red)]
    data = bytearray(_file(Image.merge("CMYK", (*stored, black)), "JPEG", quality=95))
    transform = data.index(b"Adobe") + 11
    data[transform] = 2
    return bytes(data)


def ultra_hdr(base: bytes) -> bytes:
    """Return a JPEG as an Ultra HDR file: the same base image, XMP and an index of parts, then a white gain map.

    Android's "Ultra HDR image format" 1.1: a viewer that knows nothing of it shows the base image.
    """
    gain = _file(Image.new("L", (32, 24), 255), "JPEG")
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    said = with_segments(base, [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), (0xE2, _parts(0, 0, 0))])
    start = said.index(b"MPF\0") + 4  # offsets of parts count from here
    index = (0xE2, _parts(len(said), len(gain), len(said) - start))
    return with_segments(base, [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), index]) + gain


def _parts(first: int, second: int, offset: int) -> bytes:
    """Return a Multi-Picture index of two pictures (CIPA DC-007): their lengths, and where the second begins."""
    entries = struct.pack(">3I2H", 0x030000, first, 0, 0, 0) + struct.pack(">3I2H", 0, second, offset, 0, 0)
    fields = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(">I", 2)), (0xB002, 7, 32, struct.pack(">I", 50))]
    table = b"".join(struct.pack(">2HI", tag, kind, count) + value for tag, kind, count, value in fields)
    return b"MPF\0MM\0*" + struct.pack(">IH", 8, len(fields)) + table + bytes(4) + entries


def talkative(format: str, picture: Image.Image) -> bytes:
    """Return a picture as a file that tells :data:`SECRET` in every way its format has.

    EXIF with a GPS block and a thumbnail, XMP, IPTC, Photoshop's resources, comments, texts, camera makers' own blocks.
    """
    if format == "jpeg":
        return with_segments(_file(picture, "JPEG", quality=90), _segments())
    if format == "png":
        return _talkative_png(picture)
    if format == "gif":
        return _file(picture.convert("P"), "GIF", comment=SECRET)
    if format == "tiff":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        for tag in (270, 271, 305, 306, 315, 33432):
            tags[tag] = SECRET.decode()
        for tag in (700, 34377):
            tags[tag] = SECRET
            tags.tagtype[tag] = 7
        return _file(picture, "TIFF", tiffinfo=tags)
    lossless = {"lossless": True} if format == "webp" else {}
    return _file(picture, format.upper(), exif=b"Exif\0\0" + exif_block(), xmp=_xmp(), **lossless)


def _segments() -> list[tuple[int, bytes]]:
    return [
        (0xE1, b"Exif\0\0" + exif_block()),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _xmp()),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40) + _xmp()),
        (0xE4, SECRET),
        (0xEB, b"JP\0\1" + SECRET),  # JUMBF, where C2PA keeps who made and edited a picture
        (0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 36) + b"\x1c\x02\x78\0\x1f" + SECRET),
        (0xFE, SECRET),
    ]


def exif_block(orientation: int = 1) -> bytes:
    """Return a TIFF structure with a maker, a GPS block and a thumbnail that all tell :data:`SECRET` (Exif 2.32)."""
    thumbnail = b"\xff\xd8\xff\xfe" + struct.pack(">H", len(SECRET) + 2) + SECRET + b"\xff\xd9"
    size = len(SECRET)
    first, gps, second, texts = 8, 62, 92, 122
    tables = struct.pack(">H", 4)
    tables += struct.pack(">2HIHH", 0x0112, 3, 1, orientation, 0) + struct.pack(">2HII", 0x010F, 2, size, texts)
    tables += struct.pack(">2HII", 0x8298, 2, size, texts) + struct.pack(">2HII", 0x8825, 4, 1, gps)
    tables += struct.pack(">I", second)
    tables += struct.pack(">H", 2) + struct.pack(">2HI4s", 1, 2, 2, b"N") + struct.pack(">2HII", 29, 2, size, texts)
    tables += bytes(4)
    tables += struct.pack(">H", 2) + struct.pack(">2HII", 0x0201, 4, 1, texts + size)
    tables += struct.pack(">2HII", 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return b"MM\0*" + struct.pack(">I", first) + tables + SECRET + thumbnail


def _xmp() -> bytes:
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/" by="' + SECRET + b'"></x:xmpmeta>'


def avif_with_both_turns(picture: Image.Image, by_box: int, by_exif: int) -> bytes:
    """Return an AVIF of stored pixels that is told to turn by its own boxes, and by EXIF, which then must not count.

    ISO/IEC 23008-12, section 6.5.10. Pillow writes the boxes and drops the tag; so another tag is written, and renamed.

    Args:
        picture: as stored.
        by_box: EXIF orientation 1-8 that the boxes ``irot`` and ``imir`` stand for.
        by_exif: EXIF orientation 1-8 of the EXIF block.
    """
    exif = Image.Exif()
    exif[0x0112], exif[0x0128] = by_box, by_exif
    data = _file(picture, "AVIF", quality=90, exif=exif.tobytes())
    entries = [
        (struct.pack(f"{o}2HIH", 0x0128, 3, 1, by_exif), struct.pack(f"{o}2HIH", 0x0112, 3, 1, by_exif)) for o in "<>"
    ]
    (renamed,) = [data.replace(was, becomes) for was, becomes in entries if was in data]
    return renamed


def avif_of_cells(cells: Sequence[Image.Image], columns: int, width: int, height: int, *, times: int = 1) -> bytes:
    """Return an AVIF put together of cells, as encoders of phones write it (ISO/IEC 23008-12, section 6.6.2.3).

    Args:
        cells: pictures of one size, row by row.
        columns: so many stand beside each other.
        width, height: of the picture, in pixels; the last cells of a row and a column may reach beyond.
        times: the cells are used so often, one row after the other.
    """
    files = [dict(_avif_boxes(_file(cell, "AVIF", quality=90, speed=10, subsampling="4:4:4"))) for cell in cells]
    inner = dict(_avif_boxes(dict(_avif_boxes(dict(_avif_boxes(files[0][b"meta"][4:]))[b"iprp"]))[b"ipco"]))
    numbers, used = range(2, 2 + len(cells)), len(cells) * times
    grid = struct.pack(">4B2H", 0, 0, used // columns - 1, columns - 1, width, height)
    data = [grid, *(file[b"mdat"] for file in files)]
    sizes = [_avif_box(b"ispe", bytes(4), struct.pack(">2I", *size)) for size in ((width, height), cells[0].size)]
    properties = [*sizes, *(_avif_box(name, inner[name]) for name in (b"av1C", b"pixi"))]
    kinds = [(1, b"grid"), *((number, b"av01") for number in numbers)]
    items = [_avif_box(b"infe", b"\2\0\0\0", struct.pack(">2H4sx", number, 0, kind)) for number, kind in kinds]
    cells_of = struct.pack(f">{2 + used}H", 1, used, *list(numbers) * times)
    owned = struct.pack(">IHB2B", len(data), 1, 2, 1, 4)
    owned += b"".join(struct.pack(">HB3B", number, 3, 2, 0x83, 4) for number in numbers)

    def head(at: int) -> bytes:
        places = struct.pack(">4x2BH", 0x44, 0, len(data))
        for number, item in enumerate(data, start=1):
            places += struct.pack(">3H2I", number, 0, 1, at, len(item))
            at += len(item)
        return _avif_box(b"ftyp", b"avif", bytes(4), b"avifmif1miaf") + _avif_box(
            b"meta",
            bytes(4),
            _avif_box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _avif_box(b"pitm", struct.pack(">4xH", 1)),
            _avif_box(b"iloc", places),
            _avif_box(b"iinf", struct.pack(">4xH", len(data)), *items),
            _avif_box(b"iref", bytes(4), _avif_box(b"dimg", cells_of)),
            _avif_box(b"iprp", _avif_box(b"ipco", *properties), _avif_box(b"ipma", bytes(4), owned)),
        )

    return head(len(head(0)) + 8) + _avif_box(b"mdat", *data)


def _avif_box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def _avif_boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at + 8 : at + length]
        at += length


def with_segments(jpeg: bytes, segments: Iterable[tuple[int, bytes]]) -> bytes:
    """Return a JPEG with further segments (marker's second byte, payload) right after its beginning."""
    extra = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments)
    return jpeg[:2] + extra + jpeg[2:]


def _talkative_png(picture: Image.Image) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", SECRET.decode())
    info.add_text("Comment", SECRET.decode(), zip=True)
    info.add_itxt("XML:com.adobe.xmp", _xmp().decode())
    info.add(b"eXIf", exif_block())
    info.add(b"tIME", struct.pack(">H5B", 2026, 11, 23, 12, 0, 0))
    return _file(picture, "PNG", pnginfo=info, dpi=(299, 299))


def _png(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _file(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()
