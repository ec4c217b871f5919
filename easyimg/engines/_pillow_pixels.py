"""Pixels with Pillow: plain modes, cut and resize a region, turn it upright, make it 8-bit sRGB."""

from __future__ import annotations

import io
from typing import Any, Final

from PIL import Image, ImageCms

from easyimg.engines._plan import crop_offset
from easyimg.geometry import Box, Focus, Size

_LANCZOS: Final = Image.Resampling.LANCZOS
_REDUCING_GAP: Final = 3.0  # a box filter first where it cannot be seen (Pillow's documentation of Image.resize)

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored picture upright. Pillow counts degrees counter-clockwise."""


_SIMPLE: Final = {"1": "L", "La": "LA"}
"""Modes of grey that have a plain one."""


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the picture turned upright."""
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def plain(image: Image.Image) -> Image.Image:
    """Return decoded pixels in a mode that can be resized: L, LA, RGB, RGBA, CMYK or LAB, 8 bits a channel."""
    transparency = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(image, transparency)
    if image.mode in ("L", "1") and transparency is not None:
        return image.convert("L").convert("RGBA") if image.mode == "L" else _bilevel_with_key(image, transparency)
    if image.mode == "RGB" and transparency is not None:
        # A 16-bit PNG's transparent colour stays 16-bit although its pixels do not.
        if any(value > 255 for value in transparency):
            image.info["transparency"] = tuple(value >> 8 for value in transparency)
        return image.convert("RGBA")
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        return image
    if image.mode in _SIMPLE:
        return image.convert(_SIMPLE[image.mode])
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_deep(image: Image.Image, transparency: Any) -> Image.Image:
    """Return 16-bit grey as 8-bit by scaling: Pillow's own conversion clips at 255."""
    if image.mode == "F":
        return image.convert("L")
    values = image.convert("I")
    grey = values.point(lambda value: value * (1 / 256)).convert("L") if image.mode != "I" else values.convert("L")
    if not isinstance(transparency, int):
        return grey
    # |value - key| > 0 becomes 255: two clipped differences, because mode I has no comparison.
    above = values.point(lambda value: value * 255 - transparency * 255).convert("L")
    below = values.point(lambda value: value * -255 + transparency * 255).convert("L")
    return Image.merge("LA", (grey, Image.composite(above, below, above)))


def _bilevel_with_key(image: Image.Image, transparency: int) -> Image.Image:
    grey = image.convert("L")
    key = 255 if transparency else 0
    return Image.merge("LA", (grey, grey.point([0 if value == key else 255 for value in range(256)])))


def part(image: Image.Image, box: Box, full: Size, size: Size) -> Image.Image:
    """Return a region of a (shrunk) picture, resized with Lanczos to exactly ``size``.

    Args:
        image: stored pixels in a plain mode.
        box: the region, in pixels of the full-size stored picture.
        full: size of the full-size stored picture.
        size: of the result.
    """
    across, down = image.width / full.width, image.height / full.height
    width, height = box.width * across, box.height * down
    left, top = box.left * across, box.top * down
    if abs(width - size.width) < 1 and abs(height - size.height) < 1 and image.size == full:
        x = crop_offset(box.left, box.width, 1.0, size.width, full.width)
        y = crop_offset(box.top, box.height, 1.0, size.height, full.height)
        return image if size == image.size else image.crop((x, y, x + size.width, y + size.height))
    region = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize(size, _LANCZOS, box=region, reducing_gap=_REDUCING_GAP)


def smaller(image: Image.Image, size: Size) -> Image.Image:
    """Return an upright sRGB picture resized to exactly ``size``; transparent colours do not bleed."""
    return image.resize(size, _LANCZOS)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a plain picture as L, LA, RGB or RGBA in sRGB; a profile that does not fit the pixels is ignored."""
    if image.mode == "LAB":
        return _transformed(image, ImageCms.createProfile("LAB")) or image.convert("RGB")
    if profile and not _is_srgb(profile):
        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        except (OSError, ImageCms.PyCMSError):
            opened = None
        converted = opened and _transformed(image, opened)
        if converted:
            return converted
    return image.convert("RGB") if image.mode == "CMYK" else image


def _transformed(image: Image.Image, profile: Any) -> Image.Image | None:
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode[:-1]) if alpha else image
    try:
        converted = ImageCms.profileToProfile(
            colours,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, ValueError):
        return None
    if converted and alpha:
        converted.putalpha(alpha)
    return converted


def _is_srgb(profile: bytes) -> bool:
    """Return True for the profile of almost every camera file: converting would change nothing."""
    return len(profile) == 3144 and b"sRGB IEC61966-2.1" in profile


_SMART_SIDE: Final = 128
_CELLS: Final = 8


def entropy_focus(image: Image.Image) -> Focus:
    """Return where detail is: the mean of an 8 x 8 grid's cell centres, weighted by entropy above the average.

    The weights are squared, so that one detailed object outweighs texture all around. A picture without any detail
    has its focus in the centre.
    """
    image = image.convert("RGBA") if image.has_transparency_data else image
    if image.mode == "RGBA":
        below = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(below, image)
    grey = image.convert("L").resize((_SMART_SIDE, _SMART_SIDE), Image.Resampling.BOX)
    step = _SMART_SIDE // _CELLS
    cells = [(x, y) for y in range(0, _SMART_SIDE, step) for x in range(0, _SMART_SIDE, step)]
    entropies = [grey.crop((x, y, x + step, y + step)).entropy() for x, y in cells]
    mean = sum(entropies) / len(entropies)
    weights = [max(0.0, e - mean) ** 2 for e in entropies]
    total = sum(weights)
    if total == 0:
        return Focus(0.5, 0.5)
    x, y = (sum(w * (c[axis] + step / 2) for w, c in zip(weights, cells, strict=True)) / total for axis in (0, 1))
    return Focus(x / _SMART_SIDE, y / _SMART_SIDE)
