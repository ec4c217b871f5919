"""Sources to measure builds on, drawn anew each time: the same arguments give the same pixels.

``photo`` draws what costs codecs as much as photographs do: 1/f noise in eight octaves (textures at every scale) on a
brightness gradient, slowly varying colour, 120 hard-edged ellipses and polygons (contours), Gaussian sensor noise of
sigma 5, saved as JPEG, quality 92, 4:2:0. At 12 megapixels that is about 1.8 bits per pixel. A progressive file holds
the very coefficients of the baseline one. ``cutout`` is such a picture as an RGBA PNG, whose subject, an ellipse with
an edge 60 pixels soft, stands free.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZES: Final = {"6 MP": (2725, 2225), "12 MP": (4000, 3000), "24 MP": (6000, 4000)}


def photo(width: int, height: int, seed: int = 1, quality: int = 92, *, progressive: bool = False) -> bytes:
    """Return a JPEG file of a picture that looks to a codec like a photograph."""
    out, image = io.BytesIO(), Image.fromarray(_pixels(width, height, seed))
    image.save(out, "JPEG", quality=quality, subsampling="4:2:0", progressive=progressive)
    return out.getvalue()


def cutout(width: int, height: int, seed: int = 1) -> bytes:
    """Return an RGBA PNG of such a picture: opaque inside an ellipse, nothing outside, half-transparent at its edge."""
    image = Image.fromarray(_pixels(width, height, seed))
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).ellipse((width * 0.1, height * 0.1, width * 0.9, height * 0.9), fill=255)
    image.putalpha(mask.filter(ImageFilter.BoxBlur(30)))
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=6)
    return out.getvalue()


SOURCES: Final[dict[str, Callable[[], bytes]]] = {
    **{name: lambda size=size: photo(*size) for name, size in SIZES.items()},
    **{f"{name} progressive": lambda size=size: photo(*size, progressive=True) for name, size in SIZES.items()},
    "7 MP RGBA PNG": lambda: cutout(3000, 2250),
}
"""What the tables are about, by name; each is drawn when it is called."""


def _pixels(width: int, height: int, seed: int) -> Any:
    """Return the picture as rows of red, green and blue, 0-255."""
    rng = np.random.default_rng(seed)
    light = np.linspace(-40, 40, height, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    for octave in range(8):
        light += _noise(rng, width, height, 4 * 2**octave) * (48 / 1.7**octave)
    light += _shapes(seed, width, height)
    planes = []
    for _ in range(3):
        plane = light + _noise(rng, width, height, 6) * 45
        plane += rng.standard_normal((height, width), dtype=np.float32) * 5
        planes.append(np.clip(plane + 120, 0, 255).astype(np.uint8))
    return np.dstack(planes)


def _noise(rng: np.random.Generator, width: int, height: int, cells: int) -> Any:
    """Return noise of about -1 to 1 with that many cells across, smoothly enlarged."""
    grid = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid, "F").resize((width, height), Image.Resampling.BICUBIC))


def _shapes(seed: int, width: int, height: int) -> Any:
    """Return hard edges: light and dark ellipses and triangles all over the picture."""
    random_ = random.Random(seed)
    layer = Image.new("L", (width, height), 128)
    draw = ImageDraw.Draw(layer)
    for i in range(120):
        x, y = random_.uniform(0, width), random_.uniform(0, height)
        r, tone = random_.uniform(0.005, 0.06) * width, random_.randrange(70, 190)
        if i % 2:
            draw.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=tone)
        else:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r / 2, y + r / 3)], fill=tone)
    return np.asarray(layer, dtype=np.float32) - 128
