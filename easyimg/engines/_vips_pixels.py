"""Pixels with libvips: cut and resize a region, turn it upright, make it 8-bit sRGB. Everything lazy until held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pyvips

from easyimg.engines._plan import crop_offset
from easyimg.geometry import Box, Focus, Size

_TURNS: Final[dict[int, Callable[[Any], Any]]] = {
    1: lambda image: image,
    2: lambda image: image.fliphor(),
    3: lambda image: image.rot180(),
    4: lambda image: image.flipver(),
    5: lambda image: image.rot90().fliphor(),
    6: lambda image: image.rot90(),
    7: lambda image: image.rot90().flipver(),
    8: lambda image: image.rot270(),
}
"""EXIF orientation -> what turns the stored picture upright."""

_INTENT: Final = {"intent": "relative", "black_point_compensation": True}
_SIXTEEN: Final = ("rgb16", "grey16")
_SMART_SIDE: Final = 256  # px: attention looks at colour and edges, not at detail
_AMPLE: Final = 512  # px: to be made far smaller


def upright(image: Any, orientation: int) -> Any:
    """Return the picture turned upright; needs one that is held in memory."""
    return _TURNS[orientation](image)


def part(image: Any, box: Box, full: Size, size: Size, *, to_the_end: bool = False) -> Any:
    """Return a region of a (shrunk) picture, resized with Lanczos 3 to exactly ``size``, as 8-bit sRGB in memory.

    Args:
        image: stored pixels, may be a sequential stream.
        box: the region, in pixels of the full-size stored picture.
        full: size of the full-size stored picture.
        size: of the result.
        to_the_end: also decode the rows below the region, so that damage there is found.
    """
    whole = box.width == full.width and box.height == full.height
    scales, alpha = (image.width / full.width, image.height / full.height), image.hasalpha()
    across, down = size.width / (box.width * scales[0]), size.height / (box.height * scales[1])
    if not whole:
        across = down = 1.0 if _is_natural(box, size, scales) else max(across, down)
    resizes = (across, down) != (1.0, 1.0)
    resized = _resized(image, across, down, alpha) if resizes else image
    cut = resized
    if not whole or (resized.width, resized.height) != size:
        cut = _cut(resized, box, (scales[0] * across, scales[1] * down), size, to_the_end)
    if alpha and resizes:
        cut = cut.unpremultiply().cast(image.format)
    cut = to_srgb(cut).copy()
    cut.remove("orientation")  # heifsave would write it, as an irot box, even without metadata
    held = cut.copy_memory()
    return held if held.height == size.height else held.crop(0, 0, *size)


def _is_natural(box: Box, size: Size, scales: tuple[float, float]) -> bool:
    """Return True if the region has its own pixels but for rounding: resampling by 1.0001 would only blur it."""
    return scales == (1.0, 1.0) and abs(box.width - size.width) < 1 and abs(box.height - size.height) < 1


def _resized(image: Any, across: float, down: float, alpha: bool) -> Any:
    if alpha:
        image = image.premultiply()  # else the colours of invisible pixels bleed into the edges
    return image.resize(across) if across == down else image.resize(across, vscale=down)


def _cut(resized: Any, box: Box, scale: tuple[float, float], size: Size, to_the_end: bool) -> Any:
    left = crop_offset(box.left, box.width, scale[0], size.width, resized.width)
    top = crop_offset(box.top, box.height, scale[1], size.height, resized.height)
    cut = resized.crop(left, top, *size)
    if to_the_end and top + size.height < resized.height:
        # A stream is read only as far as it is needed. One more row, dropped again by the caller, reads it all.
        cut = cut.join(resized.crop(left, resized.height - 1, size.width, 1), "vertical")
    return cut


def smaller(image: Any, size: Size) -> Any:
    """Return an 8-bit picture in memory resized to exactly ``size``, in memory."""
    across, down = size.width / image.width, size.height / image.height
    alpha = image.hasalpha()
    resized = _resized(image, across, down, alpha)
    return (resized.unpremultiply().cast("uchar") if alpha else resized).copy_memory()


def as_pillow(image: Any) -> Any:
    """Return an 8-bit picture in memory as one of Pillow's, made smaller where it is large."""
    from PIL import Image  # only here: most of what uses libvips needs no other library

    factor = max(image.width, image.height) // _AMPLE
    if factor > 1:
        image = image.shrink(min(factor, image.width), min(factor, image.height))
    mode = ("L", "LA", "RGB", "RGBA")[image.bands - 1]
    return Image.frombytes(mode, (image.width, image.height), image.write_to_memory())


def to_srgb(image: Any) -> Any:
    """Return the picture as 8-bit sRGB or grey, with at most one alpha band after 1 or 3 colours."""
    if image.get_typeof("icc-profile-data"):
        image = _by_profile(image)
    if image.interpretation not in ("srgb", "b-w"):
        image = _by_interpretation(image)
    if image.format != "uchar":
        image = image.cast("uchar")
    colours = 3 if image.bands >= 3 else 1
    return image if image.bands <= colours + 1 else image.extract_band(0, n=colours + 1)


def _by_profile(image: Any) -> Any:
    """Convert by the embedded profile; one that does not fit the pixels, or is damaged, is ignored as browsers do."""
    profile: bytes = image.get("icc-profile-data")
    if _is_srgb(profile) and image.interpretation == "srgb":
        return image
    try:
        return image.icc_transform("srgb", embedded=True, **_INTENT)
    except pyvips.Error:
        image = image.copy()
        image.remove("icc-profile-data")
        return image


def _is_srgb(profile: bytes) -> bool:
    """Return True for the profile of almost every camera file: converting would cost 8 ms to change nothing."""
    return len(profile) == 3144 and b"sRGB IEC61966-2.1" in profile


def _by_interpretation(image: Any) -> Any:
    if image.interpretation == "multiband":
        deep, grey = image.format == "ushort", image.bands <= 2
        guess = ("grey16" if grey else "rgb16") if deep else ("b-w" if grey else "srgb")
        image = image.copy(interpretation=guess)
        if not deep:
            return image
    if image.interpretation == "cmyk":  # colourspace() knows no black point compensation: black ink would be grey
        return image.icc_transform("srgb", input_profile="cmyk", **_INTENT)
    if image.interpretation in _SIXTEEN and image.format != "ushort":
        image = image.cast("ushort")
    return image.colourspace("b-w" if image.interpretation == "grey16" else "srgb")


def attention(image: Any, orientation: int) -> Focus:
    """Return the point of an upright picture that libvips' attention search finds: edges, skin, saturation."""
    scale = min(1.0, _SMART_SIDE / max(image.width, image.height))
    small = to_srgb(image.resize(scale) if scale < 1 else image)
    if small.hasalpha():
        small = small.flatten(background=255)
    small = upright(small.copy_memory(), orientation)
    side = max(1, min(small.width, small.height) // 2)
    _, found = small.smartcrop(side, side, interesting="attention", attention_x=True, attention_y=True)
    return Focus(
        min(1.0, (found["attention_x"] + 0.5) / small.width), min(1.0, (found["attention_y"] + 0.5) / small.height)
    )
