"""Small pictures made on the spot: same arguments, same bytes (for one version of Pillow). Files of nobody's rights.

Every function returns the bytes of a whole file. Colours are far apart, so that tests can name what they see:

    red    | green          :func:`corners`, upright
    -------+-------
    blue   | yellow
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL import ExifTags, Image, ImageChops, ImageDraw, TiffImagePlugin

from easyimg.testing import profiles

Colour = tuple[int, int, int]
RED: Final[Colour] = (230, 20, 20)
GREEN: Final[Colour] = (20, 200, 20)
BLUE: Final[Colour] = (20, 20, 230)
YELLOW: Final[Colour] = (240, 230, 20)

CORNERS: Final[Mapping[str, Colour]] = {"tl": RED, "tr": GREEN, "bl": BLUE, "br": YELLOW}
"""What :func:`corners` shows in each corner once it is upright."""

# EXIF orientation -> what makes the stored picture of an upright one: the inverse of what a viewer does.
_STORE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def photo(
    width: int = 640, height: int = 480, *, seed: int = 0, format: str = "jpeg", quality: int = 85, **options: Any
) -> bytes:
    """Return a picture with gradients, soft shapes, hard edges and grain: what encoders meet in photographs.

    Args:
        width, height: upright, pixels.
        seed: another number, another picture.
        format: of the file, by easyimg's name.
        quality: of the encoder.
        **options: of :func:`encoded`: ``orientation``, ``gps``, ``progressive``, ``icc_profile``...
    """
    channels = [_channel(width, height, seed * 3 + i) for i in range(3)]
    image = Image.merge("RGB", channels)
    draw, random_ = ImageDraw.Draw(image), random.Random(seed)  # noqa: S311 - repeatable on purpose
    for _ in range(12):
        x, y, r = random_.uniform(0, width), random_.uniform(0, height), random_.uniform(0.02, 0.1) * width
        colour = (random_.randrange(256), random_.randrange(256), random_.randrange(256))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
    return encoded(image, format, quality=quality, **options)


def _channel(width: int, height: int, seed: int) -> Image.Image:
    """Return one channel: coarse noise smoothly enlarged, with fine grain on it."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable on purpose
    coarse = Image.frombytes("L", (8, 6), random_.randbytes(48)).resize((width, height), Image.Resampling.BICUBIC)
    tile = Image.frombytes("L", (128, 128), bytes(128 + value % 17 - 8 for value in random_.randbytes(128 * 128)))
    grain = Image.new("L", (width, height))
    for x in range(0, width, 128):
        for y in range(0, height, 128):
            grain.paste(tile, (x, y))
    return ImageChops.add(coarse, grain, scale=1, offset=-128)


def corners(width: int = 400, height: int = 300, *, format: str = "png", **options: Any) -> bytes:
    """Return four flat quarters of different colours; with ``orientation``, stored so that they show like that."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return encoded(image, format, **options)


def ramp(width: int = 512, height: int = 512, *, format: str = "png", **options: Any) -> bytes:
    """Return a map of itself: red grows 0-255 from left to right, green from top to bottom."""
    across = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90)
    down = Image.linear_gradient("L")
    size, filter_ = (width, height), Image.Resampling.BILINEAR
    channels = (across.resize(size, filter_), down.resize(size, filter_), Image.new("L", size, 128))
    return encoded(Image.merge("RGB", channels), format, **options)


def transparent(width: int = 400, height: int = 300, *, format: str = "png") -> bytes:
    """Return red on the left; on the right nothing at all, above black."""
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, width // 2, height))
    return encoded(image, format, lossless=True) if format == "webp" else encoded(image, format)


def palette_with_transparency(width: int = 64, height: int = 48) -> bytes:
    """Return a palette PNG whose left half is green and whose right half is a transparent palette entry."""
    image = Image.new("P", (width, height), 0)
    image.putpalette([0, 200, 0, 0, 0, 0])
    image.paste(1, (width // 2, 0, width, height))
    return encoded(image, "png", transparency=1)


def cmyk(ink: tuple[int, int, int, int] = (255, 0, 0, 0), width: int = 64, height: int = 48) -> bytes:
    """Return a JPEG of one ink without a profile, inverted with Adobe's marker as Photoshop writes it."""
    return encoded(Image.new("CMYK", (width, height), ink), "jpeg", quality=95)


def grey(width: int = 200, height: int = 150, *, format: str = "jpeg") -> bytes:
    """Return a one-channel picture, black at the top, white at the bottom."""
    return encoded(Image.linear_gradient("L").resize((width, height)), format)


def deep_grey(width: int = 256, height: int = 64) -> bytes:
    """Return a 16-bit grey PNG, 0 at the left to 65,535 at the right: one that is clipped turns white at once."""
    row = struct.pack(f"<{width}H", *(x * 65535 // (width - 1) for x in range(width)))
    return encoded(Image.frombytes("I;16", (width, height), row * height), "png")


def bilevel(width: int = 64, height: int = 48) -> bytes:
    """Return a 1-bit PNG, black on the left, white on the right."""
    image = Image.new("1", (width, height), 0)
    image.paste(1, (width // 2, 0, width, height))
    return encoded(image, "png")


def animation(
    width: int = 64,
    height: int = 48,
    *,
    format: str = "gif",
    frames: int = 3,
    delays: Sequence[int] | int = 100,
    plays: int = 0,
) -> bytes:
    """Return an animated GIF, WebP or PNG: the first frame red, the second green, then blue, yellow and again.

    Args:
        width, height: pixels.
        format: ``"gif"``, ``"webp"`` or ``"png"``.
        frames: how many.
        delays: of each frame or of all, milliseconds.
        plays: how often all frames are shown; 0 = for ever.
    """
    colours = list(CORNERS.values())
    pictures = [Image.new("RGB", (width, height), colours[i % 4]) for i in range(frames)]
    return film(pictures, format, delays=delays, plays=plays)


def moving_square(format: str = "gif", *, frames: int = 4) -> bytes:
    """Return a red square with a black rim and a hole, 12 px wide, that steps 12 px to the right on nothing.

    The canvas is 60 x 36 px, the square's first place 6, 12; the hole is its 2 px in the middle.
    """
    pictures = []
    for i in range(frames):
        image = Image.new("RGBA", (60, 36), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (6 + 12 * i, 12, 18 + 12 * i, 24))
        image.paste((*RED, 255), (8 + 12 * i, 14, 16 + 12 * i, 22))
        image.paste((0, 0, 0, 0), (11 + 12 * i, 17, 13 + 12 * i, 19))
        pictures.append(image)
    options = {"lossless": True} if format == "webp" else {"disposal": 2} if format == "gif" else {"disposal": 1}
    return film(pictures, format, **options)


def film(
    pictures: Sequence[Image.Image], format: str, *, delays: Sequence[int] | int = 100, plays: int = 0, **options: Any
) -> bytes:
    """Return pictures of one size as an animation; ``options`` are those of :func:`encoded`."""
    loop = plays if format != "gif" else plays - 1 if plays > 1 else 0
    if format != "gif" or plays != 1:
        options["loop"] = loop
    delays = delays if isinstance(delays, int) else list(delays)
    return encoded(pictures[0], format, save_all=True, append_images=list(pictures[1:]), duration=delays, **options)


def encoded(image: Image.Image, format: str, *, orientation: int = 1, gps: bool = False, **options: Any) -> bytes:
    """Return a picture as a file.

    Args:
        image: upright.
        format: of the file, by easyimg's name.
        orientation: EXIF orientation 1-8; the pixels are stored turned, so that a viewer shows the picture upright.
        gps: whether the EXIF block tells a place.
        **options: of Pillow's encoder.
    """
    if orientation > 1:
        image = image.transpose(_STORE[orientation])
    if orientation > 1 or gps:
        options |= _exif_option(format, orientation, gps=gps)
    out = io.BytesIO()
    image.save(out, format.upper(), **options)
    return out.getvalue()


def _exif_option(format: str, orientation: int, *, gps: bool) -> dict[str, Any]:
    if format == "tiff":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[ExifTags.Base.Orientation] = orientation
        return {"tiffinfo": tags}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "easyimg test camera"
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    return {"exif": exif.tobytes()}


swapped_profile: Final = profiles.swapped_profile
"""Makes an ICC profile in which red is sRGB's green: honoured, (255, 0, 0) is pure green."""
