"""Whether two pictures show the same, judged by small copies of both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from easyimg.geometry import Focus
from easyimg.ports import Encoded, Engine
from easyimg.spec import VariantSpec

_SIDE: Final = 64
"""Width of the copies, pixels: what tells pictures apart is left, what encoders do to them is not."""

_MEAN, _MOST = 4.0, 72
"""Of 255: how far a channel may be off on average, and at any pixel. The same picture, encoded twice, is off by about
1 and 20; edges that lie half a pixel apart by 40."""


def pictures(
    engine: Engine, data: bytes, format: str, specs: Sequence[VariantSpec], focus: Focus | None
) -> list[Encoded]:
    """Return what the specs show of a source, in their sizes and without loss; from one decode.

    Not small at once: a crop lies on whole pixels of its own size, and a smaller one elsewhere.
    """
    exact = [replace(spec, format="png", effort="fast", animated=False) for spec in specs]
    return engine.build(data, format, exact, focus) if exact else []


def shows(engine: Engine, data: bytes, format: str, picture: Encoded) -> bool:
    """Return whether a file has a picture's size, and shows the same upright and in its colours."""
    from PIL import Image, ImageChops, ImageStat

    small = VariantSpec("png", min(picture.width, _SIDE), Fraction(picture.width, picture.height))
    (own,) = engine.build(data, format, [small])
    (wanted,) = engine.build(picture.data, "png", [small])
    if (own.width, own.height) != (wanted.width, wanted.height):
        return False
    one, other = (Image.open(io.BytesIO(file.data), formats=["PNG"]).convert("RGB") for file in (own, wanted))
    off = ImageStat.Stat(ImageChops.difference(one, other))
    return max(off.mean) <= _MEAN and max(high for _, high in off.extrema) <= _MOST
