"""What tests see of a variant: its pixels, the colours of its corners, how far two pictures differ."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageChops, ImageStat

from easyimg.formats import sniff
from easyimg.ports import Encoded
from easyimg.testing import images

UPRIGHT: Final = {name: name for name in images.CORNERS}
"""What :func:`corner_names` says of :func:`images.corners`, upright."""


def opened(variant: Encoded) -> Image.Image:
    """Return a variant's pixels, after asserting that format, size and content are what it claims."""
    image = Image.open(io.BytesIO(variant.data))
    image.load()
    assert sniff(variant.data) == variant.format
    assert image.size == (variant.width, variant.height)
    return image


def is_close(found: object, expected: tuple[int, ...], tolerance: int = 24) -> bool:
    """Return whether a pixel is that colour, give or take what lossy codecs do."""
    assert isinstance(found, tuple)
    return all(abs(f - e) <= tolerance for f, e in zip(found[:3], expected[:3], strict=True))


def corner_names(image: Image.Image) -> dict[str, str]:
    """Return, for each corner of a picture, the name of the corner of :func:`images.corners` whose colour it has."""
    image = image.convert("RGB")
    right, bottom = image.width - 3, image.height - 3
    places = {"tl": (2, 2), "tr": (right, 2), "bl": (2, bottom), "br": (right, bottom)}
    return {
        place: next((n for n, c in images.CORNERS.items() if is_close(image.getpixel(xy), c)), "none")
        for place, xy in places.items()
    }


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    """Return by how many levels of 255 two pictures of one size differ on average, transparency premultiplied."""
    first, second = (
        Image.frombytes("RGBA", image.size, image.convert("RGBA").convert("RGBa").tobytes()) for image in (one, other)
    )
    assert first.size == second.size
    return sum(ImageStat.Stat(ImageChops.difference(first, second)).mean) / 4


def nearest_corner(image: Image.Image, corner: str) -> str:
    """Return the name of the corner of :func:`images.corners` whose colour a tiny picture's corner is nearest to."""
    right, bottom = image.width - 2, image.height - 2
    found = image.convert("RGB").getpixel((right if "r" in corner else 1, bottom if "b" in corner else 1))
    assert isinstance(found, tuple)
    return min(
        images.CORNERS, key=lambda name: sum(abs(f - e) for f, e in zip(found, images.CORNERS[name], strict=True))
    )


def rgb(color: str) -> tuple[int, ...]:
    """Return the three numbers of ``#rrggbb``."""
    assert len(color) == 7
    return tuple(bytes.fromhex(color.removeprefix("#")))
