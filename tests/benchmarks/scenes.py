"""Pictures to judge encoders by. Same arguments, same pixels.

``scene`` draws "dead leaves": opaque shapes of every size, the nearer hiding the farther, with as many of a size as
keeps the picture alike at every scale. That is the statistical model of photographs: its edges and its spectrum fall
off as theirs do (Lee, Mumford, Huang: "Occlusion models for natural images", 2001). Each leaf has a colour of muted
saturation, light that falls off across it, and a texture of 1/f noise of its own strength; far leaves are out of focus.
Everything is drawn at twice the size, blurred a little for the lens, given sensor noise of sigma 2, and made smaller
with Lanczos, as an engine does.

- ``leaves``: detail everywhere, like foliage, crowds and streets.
- ``portrait``: few large soft shapes out of focus, one detailed subject in the middle.
- ``sky``: a smooth gradient over more than half of the height, leaves below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZES: Final = ((448, 252), (896, 504))
"""Of the files that ``Img(width=448, ratio="video")`` asks for."""

_OVERSIZE: Final = 2
_LENS: Final = 1.2  # pixels of blur, at the size drawn: no lens is perfectly sharp
_SENSOR_NOISE: Final = 2.0  # levels, at the size drawn


def scene(kind: str, width: int, height: int, seed: int = 1) -> Image.Image:
    """Return a picture of that kind (a key of :data:`KINDS`) and size, RGB."""
    rng = np.random.default_rng(seed)
    size = (width * _OVERSIZE, height * _OVERSIZE)
    drawn = KINDS[kind](rng, size).filter(ImageFilter.GaussianBlur(_LENS))
    pixels = np.asarray(drawn, np.float64) + rng.normal(0, _SENSOR_NOISE, (*size[::-1], 3))
    noisy = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return noisy.resize((width, height), Image.Resampling.LANCZOS)


def _foliage(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    return _leaves(rng, _sky(rng, size), 4000, (0.004, 0.25))


def _portrait(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    far = _leaves(rng, _sky(rng, size), 300, (0.05, 0.3)).filter(ImageFilter.GaussianBlur(size[0] / 45))
    near, mask = _leaves(rng, far, 4000, (0.004, 0.15)), Image.new("L", size, 0)
    x, y = size[0] / 2, size[1] * 0.6
    ImageDraw.Draw(mask).ellipse((x - size[0] * 0.2, y - size[1] * 0.45, x + size[0] * 0.2, y + size[1] * 0.7), 255)
    return Image.composite(near, far, mask.filter(ImageFilter.GaussianBlur(2)))


def _skyline(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    return _leaves(rng, _sky(rng, size), 2500, (0.004, 0.12), above=0.62)


KINDS: Final[dict[str, Callable[[np.random.Generator, tuple[int, int]], Image.Image]]] = {
    "leaves": _foliage,
    "portrait": _portrait,
    "sky": _skyline,
}


def _sky(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Return a smooth gradient with the softest of clouds."""
    down = np.linspace(0, 1, size[1], dtype=np.float32)[:, None, None]
    colour = (1 - down) * np.array((90, 130, 190), np.float32) + down * np.array((200, 205, 210), np.float32)
    clouds = _noise(rng, size, 3)[..., None] * 18
    return Image.fromarray(np.clip(colour + clouds, 0, 255).astype(np.uint8))


def _leaves(
    rng: np.random.Generator, below: Image.Image, count: int, radii: tuple[float, float], above: float = 0.0
) -> Image.Image:
    """Return the picture with leaves on it.

    Args:
        rng: where chance comes from.
        below: what the leaves lie on.
        count: of leaves.
        radii: smallest and largest, in widths; the density of a radius r is proportional to r^-3.
        above: the height, as a fraction, above which no leaf has its centre.
    """
    width, height = below.size
    texture = _texture(rng, below.size)
    low, high = radii[0] ** -2, radii[1] ** -2
    pixels = np.asarray(below, np.float32).copy()
    for radius in (high + rng.random(count) * (low - high)) ** -0.5 * width:
        x, y = rng.uniform(0, width), rng.uniform(above, 1.1) * height
        left, top = max(0, int(x - radius)), max(0, int(y - radius))
        right, bottom = min(width, int(x + radius) + 1), min(height, int(y + radius) + 1)
        if top >= bottom:
            continue
        part = (slice(top, bottom), slice(left, right))
        across, down = np.meshgrid(np.arange(left, right) - x, np.arange(top, bottom) - y)
        inside = _outline(rng, across, down, radius)
        light = (across * rng.normal() + down * rng.normal()) / radius * 14
        leaf = _muted(rng) + (light + texture[part] * rng.exponential(12))[..., None]
        pixels[part] = np.where(inside[..., None], leaf, pixels[part])
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> Any:
    """Return 1/f noise, every octave as strong as the next, of standard deviation 1."""
    octaves = sum(_noise(rng, size, cells) for cells in (14, 28, 56, 112, 224, 448, 896))
    return octaves / octaves.std()


def _outline(rng: np.random.Generator, across: Any, down: Any, radius: float) -> Any:
    """Return which pixels belong to a leaf: an ellipse, or an ellipse cut by a straight edge."""
    turn, flat = rng.uniform(0, np.pi), rng.uniform(0.35, 1)
    one = across * np.cos(turn) + down * np.sin(turn)
    other = down * np.cos(turn) - across * np.sin(turn)
    inside = one**2 + (other / flat) ** 2 <= radius**2
    return inside & (one < radius * 0.3) if rng.random() < 0.4 else inside


def _muted(rng: np.random.Generator) -> Any:
    """Return a colour nearer to grey than to any hue, and to brown and green than to the others."""
    grey, warm, green = rng.uniform(25, 215), rng.normal(8, 8), rng.normal(2, 5)
    return np.clip((grey + warm, grey + green, grey - warm), 0, 255).astype(np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Any:
    """Return noise of about -1 to 1 with that many cells across, smoothly enlarged."""
    grid = rng.uniform(-1, 1, (max(2, cells * size[1] // size[0]), cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))
