"""The table of image formats: names, types, extensions, how their content is recognised.

Content decides what a file is, never its name. :func:`sniff` knows more formats than easyimg accepts, so that a
refusal can say what was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final


@dataclass(frozen=True, slots=True)
class Format:
    """One image format.

    Args:
        name: what options and rows call it.
        mime: its media type.
        extension: of files that we write, with no dot.
        alpha: whether it can hold transparency.
        output: whether ``Img(format=...)`` may ask for it.
        browsers: whether every current browser shows it in ``<img src>``.
        animates: whether easyimg writes animations in it.
    """

    name: str
    mime: str
    extension: str
    alpha: bool
    output: bool
    browsers: bool
    animates: bool = False


FORMATS: Final = {
    f.name: f
    for f in (
        Format("jpeg", "image/jpeg", "jpg", alpha=False, output=True, browsers=True),
        Format("png", "image/png", "png", alpha=True, output=True, browsers=True),
        Format("webp", "image/webp", "webp", alpha=True, output=True, browsers=True, animates=True),
        Format("avif", "image/avif", "avif", alpha=True, output=True, browsers=True),
        Format("gif", "image/gif", "gif", alpha=True, output=False, browsers=True, animates=True),
        Format("tiff", "image/tiff", "tif", alpha=True, output=False, browsers=False),
        Format("svg", "image/svg+xml", "svg", alpha=True, output=False, browsers=True),
    )
}
"""Formats easyimg can accept as a source, by name."""

OUTPUT_FORMATS: Final = tuple(f.name for f in FORMATS.values() if f.output)
"""What ``Img(format=...)`` accepts."""

FALLBACK: Final = "fallback"
"""The abstract output format of ``src``: JPEG; PNG where the source is transparent and no background is given; GIF
where an animation is kept."""

ALIASES: Final = {"jpg": "jpeg", "tif": "tiff"}
"""Spellings accepted for a format's name."""

DEFAULT_ALLOWED: Final = ("jpeg", "png", "gif", "webp", "avif", "tiff")
"""Formats accepted from uploads unless settings say otherwise."""

# First bytes -> name. Names outside FORMATS exist only to be refused by name.
_MAGIC: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"BM", "bmp"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"8BPS", "psd"),
    (b"%PDF", "pdf"),
    (b"%!PS", "eps"),
    (b"\xc5\xd0\xd3\xc6", "eps"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL ", "jxl"),
    (b"\x00\x00\x00\x0cjP  ", "jp2"),
    (b"BLP1", "blp"),
    (b"BLP2", "blp"),
    (b"\x01\xda", "sgi"),
    (b"DDS ", "dds"),
    (b"qoif", "qoi"),
    (b"v/1\x01", "exr"),
    (b"icns", "icns"),
)

_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})


def sniff(data: bytes) -> str | None:
    """Return the name of the format that the content's first bytes declare, or None if unknown.

    Looks at 4,096 bytes at most and decodes nothing. The name may be one that easyimg never accepts (``"eps"``).
    """
    head = data[:4096]
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _sniff_isobmff(head)
    if head[:1] == b"P" and head[1:2] in b"1234567Ff" and head[2:3].isspace():
        return "ppm"
    return "svg" if _looks_like_svg(head) else None


def _sniff_isobmff(head: bytes) -> str | None:
    """Return the image format of an ISO base media file by its brands (ISO/IEC 23008-12, annex B)."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    brands = {major} | {head[i : i + 4] for i in range(16, size, 4)}
    if major in _AVIF_BRANDS:
        return "avif"
    if brands & _HEIC_BRANDS:
        return "heic"
    return "avif" if brands & _AVIF_BRANDS else None


def _looks_like_svg(head: bytes) -> bool:
    """Return True for XML text whose beginning holds an ``<svg`` element."""
    for encoding in ("utf-16",) if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        text = head.decode(encoding, "replace").lstrip().lower()
        if text.startswith("<") and "<svg" in text:
            return True
    return False


# One number, equal visual quality: (asked, encoder's own number) points, straight lines between them.
# Medians of equal SSIM on photo-like pictures of 448 and 896 px: `python -m tests.benchmarks.quality` prints them.
# The steps near 90 are JPEG's own, whose encoders keep colour at full resolution from there on.
_QUALITY_CURVES: Final = {
    "jpeg": ((1, 1), (100, 100)),
    "webp": ((1, 1), (100, 100)),
    "avif": ((1, 1), (30, 38), (40, 45), (60, 53), (70, 60), (80, 67), (85, 71), (90, 86), (95, 93), (100, 98)),
}


def encoder_quality(format_name: str, quality: int) -> int:
    """Return the encoder's own quality number that looks like ``quality`` (1-100) does in JPEG."""
    curve = _QUALITY_CURVES.get(format_name)
    if curve is None:
        return quality
    for (x0, y0), (x1, y1) in pairwise(curve):
        if quality <= x1:
            return round(y0 + (y1 - y0) * (quality - x0) / (x1 - x0))
    return curve[-1][1]
