"""How alike a file looks to what it should show."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from PIL import Image

_TAPS: Final = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_WEIGHTS: Final = _TAPS / _TAPS.sum()
_C1: Final = (0.01 * 255) ** 2
_C2: Final = (0.03 * 255) ** 2


def reference(source: bytes, width: int, height: int) -> Image.Image:
    """Return what a file of that size should show: all pixels decoded, the exact centre box, Lanczos, over white."""
    with Image.open(io.BytesIO(source)) as image:
        scale = min(image.width / width, image.height / height)
        left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
        box = (left, top, left + width * scale, top + height * scale)
        premultiplied = image.convert("RGBa" if image.mode == "RGBA" else "RGB")
        resized = premultiplied.resize((width, height), Image.Resampling.LANCZOS, box=box)
    return over_white(resized.convert("RGBA") if resized.mode == "RGBa" else resized)


def over_white(image: Image.Image) -> Image.Image:
    """Return a picture as RGB."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")


def ssim(one: Image.Image, other: Image.Image) -> float:
    """Return the structural similarity of two RGB pictures, 1 = equal: mean over the channels.

    Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment" (2004): a Gaussian window of sigma 1.5.
    """
    pairs = zip(_planes(one), _planes(other), strict=True)
    return float(np.mean([_ssim(first, second) for first, second in pairs]))


def _planes(image: Image.Image) -> list[Any]:
    return [np.asarray(channel, np.float64) for channel in image.split()]


def _ssim(x: Any, y: Any) -> float:
    mx, my = _smooth(x), _smooth(y)
    vx, vy = _smooth(x * x) - mx * mx, _smooth(y * y) - my * my
    covariance = _smooth(x * y) - mx * my
    found = (2 * mx * my + _C1) * (2 * covariance + _C2) / ((mx * mx + my * my + _C1) * (vx + vy + _C2))
    return float(found.mean())


def _smooth(plane: Any) -> Any:
    """Blur rows, then columns; without the border, where the window is not whole."""
    rows = np.lib.stride_tricks.sliding_window_view(plane, len(_WEIGHTS), 0) @ _WEIGHTS
    return np.lib.stride_tricks.sliding_window_view(rows, len(_WEIGHTS), 1) @ _WEIGHTS
