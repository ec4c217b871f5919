"""Sizes, regions and crops. Pure arithmetic; points and regions are fractions, or pixels, of the *upright* source.

The one question answered here: given a source's size and what was asked, which region of the source is shown, and how
many pixels does the file have? (:func:`frame`)
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Size(NamedTuple):
    """Width and height in whole pixels."""

    width: int
    height: int


class Focus(NamedTuple):
    """A point as fractions (0-1) of the upright source: 0, 0 is the top left."""

    x: float
    y: float


CENTER = Focus(0.5, 0.5)


class Window(NamedTuple):
    """A region as fractions (0-1) of the upright source."""

    left: float
    top: float
    right: float
    bottom: float


class Box(NamedTuple):
    """A region in (fractional) pixels of the upright source."""

    left: float
    top: float
    width: float
    height: float


class Frame(NamedTuple):
    """What a variant shows (``region`` of the upright source, in pixels) and its size in pixels."""

    region: Box
    size: Size


def round_half_up(value: float | Fraction) -> int:
    """Return the nearest whole number, halves upwards, and at least 1: no picture has an empty side."""
    return max(1, int(value + Fraction(1, 2)) if isinstance(value, Fraction) else int(value + 0.5))


def frame(
    source: Size,
    *,
    width: int | None = None,
    ratio: Fraction | None = None,
    crop: Focus | None = CENTER,
    contain: bool = True,
    window: Window | None = None,
    upscale: bool = False,
) -> Frame:
    """Return the region and the size of a variant.

    Args:
        source: the upright source, pixels.
        width: of the box asked for, pixels; None = as wide as what is shown of the source.
        ratio: width / height of the box; None = that of what is shown.
        crop: the point that stays in view when the box is filled; None = nothing is cut.
        contain: with no crop, True fits inside the box and False covers it.
        window: the region to keep before anything else.
        upscale: False = a box larger than the source shrinks to it, keeping its ratio.
    """
    region = _window_box(source, window)
    if ratio is not None and crop is not None:
        region = _cut(region, ratio, source, crop)
    natural = Size(round_half_up(region.width), round_half_up(region.height))
    size = _box_size(region, natural, width, ratio, crop is not None, contain)
    if not upscale and (size.width > natural.width or size.height > natural.height):
        size = natural
    return Frame(region, size)


def _window_box(source: Size, window: Window | None) -> Box:
    if window is None:
        return Box(0.0, 0.0, float(source.width), float(source.height))
    left, top = round(window.left * source.width), round(window.top * source.height)
    right, bottom = round(window.right * source.width), round(window.bottom * source.height)
    left, top = min(left, source.width - 1), min(top, source.height - 1)
    return Box(float(left), float(top), float(max(1, right - left)), float(max(1, bottom - top)))


def _cut(region: Box, ratio: Fraction, source: Size, focus: Focus) -> Box:
    """Return the largest box of that ratio inside the region, centred on the focus as far as it fits."""
    r = float(ratio)
    if region.width / region.height > r:
        width, height = region.height * r, region.height
    else:
        width, height = region.width, region.width / r
    left = _clamp(focus.x * source.width - width / 2, region.left, region.left + region.width - width)
    top = _clamp(focus.y * source.height - height / 2, region.top, region.top + region.height - height)
    return Box(left, top, width, height)


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(value, max(low, high)))


def _box_size(
    region: Box, natural: Size, width: int | None, ratio: Fraction | None, cropped: bool, contain: bool
) -> Size:
    """Return the size that fills, fits or covers the box asked for, enlarging where it must."""
    if width is None:
        return natural
    if ratio is None:
        return Size(width, round_half_up(width * region.height / region.width))
    box_height = max(1, (2 * width * ratio.denominator + ratio.numerator) // (2 * ratio.numerator))  # halves upwards
    if cropped:
        return Size(width, box_height)
    scale = (min if contain else max)(width / region.width, box_height / region.height)
    return Size(round_half_up(region.width * scale), round_half_up(region.height * scale))
