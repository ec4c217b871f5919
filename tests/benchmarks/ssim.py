"""How alike two pictures look, and what a file should show."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
from PIL import Image


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
    """Return the structural similarity of two RGB pictures of one size, 1 = equal: the mean over the channels.

    Wang, Bovik, Sheikh, Simoncelli: "Image quality assessment" (2004), Gaussian window of sigma 1.5.
    """
    first, second = (np.asarray(image.convert("RGB"), np.float64) for image in (one, other))
    return float(np.mean([_similarity(first[..., i], second[..., i])[0].mean() for i in range(3)]))


def ms_ssim(one: Image.Image, other: Image.Image) -> float:
    """Return the structural similarity over five scales of the luminance of two pictures, 1 = equal.

    Wang, Simoncelli, Bovik: "Multiscale structural similarity" (2003). It minds lost grain less, lost shape more.
    """
    first, second = (np.asarray(image.convert("L"), np.float64) for image in (one, other))
    result = 1.0
    for i, weight in enumerate(_SCALES):
        whole, structure = _similarity(first, second)
        result *= max(0.0, float((whole if i == len(_SCALES) - 1 else structure).mean())) ** weight
        first, second = _halved(first), _halved(second)
    return result


_SCALES: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW: Final = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))


def _similarity(one: Any, other: Any) -> tuple[Any, Any]:
    """Return the map of SSIM, and of its part without luminance."""
    mean_one, mean_other = _blurred(one), _blurred(other)
    variance_one = _blurred(one * one) - mean_one**2
    variance_other = _blurred(other * other) - mean_other**2
    covariance = _blurred(one * other) - mean_one * mean_other
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (variance_one + variance_other + c2)
    light = (2 * mean_one * mean_other + c1) / (mean_one**2 + mean_other**2 + c1)
    return light * structure, structure


def _blurred(values: Any) -> Any:
    window = _WINDOW / _WINDOW.sum()
    for axis in (0, 1):
        taps = np.lib.stride_tricks.sliding_window_view(values, len(window), axis)
        values = taps @ window
    return values


def _halved(values: Any) -> Any:
    height, width = (side // 2 * 2 for side in values.shape)
    values = values[:height, :width]
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4
