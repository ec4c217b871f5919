"""Pictures to show when no photos are given: painted landscapes, the same on every machine.

Among them what real uploads bring: a camera's 12 megapixels, a picture stored on its side, transparency, a file that
was cut off half-way.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

BROKEN = "cut-off.jpg"
"""The picture that cannot be built."""

_ORIENTATION = 0x0112
_ON_ITS_SIDE = 6  # EXIF: the stored picture must be turned 90 degrees clockwise


class Scene(NamedTuple):
    """A landscape: how large, the sky's two colours, the sun, the nearest ridge's colour."""

    name: str
    size: tuple[int, int]
    above: Colour
    below: Colour
    sun: Colour
    near: Colour
    sun_at: tuple[float, float] = (0.7, 0.35)
    ridges: int = 6


SCENES = (
    Scene("valley-12-megapixels.jpg", (4000, 3000), (58, 110, 180), (250, 214, 165), (255, 244, 214), (18, 42, 48)),
    Scene("dawn.jpg", (2400, 1600), (60, 52, 110), (250, 160, 120), (255, 220, 180), (30, 18, 50), (0.3, 0.55)),
    Scene("on-its-side.jpg", (1500, 2000), (90, 160, 200), (235, 240, 220), (255, 255, 240), (24, 60, 40)),
    Scene("dunes.jpg", (2000, 1333), (40, 130, 190), (250, 226, 180), (255, 250, 225), (150, 82, 36), (0.2, 0.25), 4),
    Scene("mist.webp", (1800, 1200), (170, 190, 200), (228, 232, 230), (250, 250, 246), (62, 84, 88), (0.5, 0.3), 8),
    Scene("night.jpg", (2200, 1400), (6, 10, 30), (40, 60, 110), (230, 235, 250), (4, 8, 16), (0.8, 0.2)),
    Scene(BROKEN, (1600, 1200), (120, 60, 60), (250, 190, 150), (255, 230, 200), (50, 20, 20)),
)


def make_pictures(folder: Path) -> Iterator[Path]:
    """Write the pictures into a folder, yielding each path when its file is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(SCENES):
        path = folder / scene.name
        path.write_bytes(_encoded(scene, paint(scene, random.Random(number))))  # noqa: S311  # paint, not secrets
        yield path
    path = folder / "transparent.png"
    path.write_bytes(_png(balloon((1200, 900))))
    yield path


def paint(scene: Scene, rng: random.Random) -> Image.Image:
    """Return a landscape: sky, sun, ridges that grow paler with distance, and the grain of a camera."""
    width, height = scene.size
    picture = _sky(scene, rng)
    draw = ImageDraw.Draw(picture)
    for number in range(scene.ridges):
        near = (number + 1) / scene.ridges
        colour = _mix(scene.below, scene.near, near**1.4)
        top = height * (0.42 + 0.48 * near**1.3)
        line = _ridge(width, top, height * 0.16 * (1.2 - near / 2), rng)
        draw.polygon([(0, height), *line, (width, height)], fill=colour)
    return _grain(picture, rng)


def balloon(size: tuple[int, int]) -> Image.Image:
    """Return a balloon on nothing: a picture with soft transparency."""
    width, height = size
    picture = Image.new("RGBA", size)
    draw = ImageDraw.Draw(picture)
    middle, radius, top = width / 2, height * 0.34, height * 0.06
    for number in range(9):
        half = radius * math.cos(math.pi * number / 18)
        colour = ((214, 64, 52), (250, 200, 80))[number % 2]
        draw.ellipse((middle - half, top, middle + half, top + 2 * radius), fill=(*colour, 255))
    basket = (middle - radius * 0.2, height * 0.82, middle + radius * 0.2, height * 0.94)
    for side in (-1, 1):
        draw.line(
            (middle + side * radius * 0.6, height * 0.66, middle + side * radius * 0.2, basket[1]), (90, 60, 40), 6
        )
    draw.rounded_rectangle(basket, radius=12, fill=(120, 80, 50, 255))
    return picture.filter(ImageFilter.GaussianBlur(1.2))


def _sky(scene: Scene, rng: random.Random) -> Image.Image:
    width, height = scene.size
    fade = Image.linear_gradient("L").resize(scene.size)
    sky = Image.composite(Image.new("RGB", scene.size, scene.below), Image.new("RGB", scene.size, scene.above), fade)
    clouds = _noise(scene.size, (12, 8), rng).point([max(0, (i - 140) * 2) for i in range(256)])
    sky = Image.composite(Image.new("RGB", scene.size, scene.sun), sky, clouds.point([i // 3 for i in range(256)]))
    x, y, radius = scene.sun_at[0] * width, scene.sun_at[1] * height, height // 3
    glow = ImageChops.invert(Image.radial_gradient("L").resize((2 * radius, 2 * radius)))
    glow = glow.point([max(0, i - 76) for i in range(256)])  # 76: what is left at the edge of the circle
    sky.paste(Image.new("RGB", glow.size, scene.sun), (int(x) - radius, int(y) - radius), glow)
    disc = height // 24
    ImageDraw.Draw(sky).ellipse((x - disc, y - disc, x + disc, y + disc), fill=scene.sun)
    return sky


def _noise(size: tuple[int, int], cells: tuple[int, int], rng: random.Random) -> Image.Image:
    """Return soft noise: few random points, enlarged, and finer ones over them."""
    coarse = Image.frombytes("L", cells, rng.randbytes(cells[0] * cells[1])).resize(size, Image.Resampling.BICUBIC)
    fine_cells = (cells[0] * 4, cells[1] * 4)
    fine = Image.frombytes("L", fine_cells, rng.randbytes(fine_cells[0] * fine_cells[1]))
    return Image.blend(coarse, fine.resize(size, Image.Resampling.BICUBIC), 0.2)


def _ridge(width: int, top: float, rough: float, rng: random.Random) -> list[tuple[float, float]]:
    """Return a mountain's outline by halving lines again and again (midpoint displacement)."""
    heights = [rng.uniform(-1, 1) * rough, rng.uniform(-1, 1) * rough]
    while len(heights) < 512:
        between = [(a + b) / 2 + rng.uniform(-1, 1) * rough for a, b in pairwise(heights)]
        heights = [h for pair in zip(heights, between, strict=False) for h in pair] + [heights[-1]]
        rough *= 0.52
    return [(width * i / (len(heights) - 1), top - h) for i, h in enumerate(heights)]


def _grain(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Add the noise of a sensor: it is what makes a camera's files large."""
    tile = Image.frombytes("L", (512, 512), rng.randbytes(512 * 512)).point([118 + i * 20 // 255 for i in range(256)])
    grain = Image.new("L", picture.size)
    for left in range(0, picture.width, 512):
        for top in range(0, picture.height, 512):
            grain.paste(tile.rotate(90 * rng.randrange(4)), (left, top))
    return ImageChops.add(picture, grain.convert("RGB"), 1, -128)


def _mix(far: Colour, near: Colour, amount: float) -> Colour:
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(far, near, strict=True))
    return red, green, blue


def _encoded(scene: Scene, picture: Image.Image) -> bytes:
    out = io.BytesIO()
    if scene.name.endswith(".webp"):
        picture.save(out, "WEBP", quality=92)
    elif scene.name.startswith("on-its-side"):
        exif = Image.Exif()
        exif[_ORIENTATION] = _ON_ITS_SIDE
        picture.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", quality=92, exif=exif)
    else:
        picture.save(out, "JPEG", quality=92)
    data = out.getvalue()
    return data[: len(data) // 2] if scene.name == BROKEN else data


def _png(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
