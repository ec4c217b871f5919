"""Whether two pictures show the same, judged by small copies of both."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Final

from easyimg.geometry import Focus, Size
from easyimg.ports import Encoded, Engine
from easyimg.spec import VariantSpec

_SIDE: Final = 64
"""Width of the copies, pixels: what tells pictures apart is left, what encoders do to them is not."""

_MEAN, _MOST = 4.0, 72
"""Of 255: how far a channel may be off on average, and at any pixel. The same picture, encoded twice, is off by about
1 and 20; edges that lie half a pixel apart by 40."""


def small_copies(
    engine: Engine, data: bytes, format: str, specs: Sequence[VariantSpec], widths: Sequence[int], focus: Focus | None
) -> list[Encoded]:
    """Return what the specs show of a source, small; from one decode.

    Args:
        widths: of the specs' files, pixels: a copy is not wider.
    """
    small = [
        replace(spec, format="png", width=min(width, _SIDE), animated=False)
        for spec, width in zip(specs, widths, strict=True)
    ]
    return engine.build(data, format, small, focus) if small else []


def shows(engine: Engine, data: bytes, format: str, copy: Encoded) -> bool:
    """Return whether a file shows what a small copy does, upright and in its colours."""
    from PIL import Image, ImageChops, ImageStat

    size = Size(copy.width, copy.height)
    (own,) = engine.build(data, format, [VariantSpec("png", size.width, Fraction(size.width, size.height))])
    if (own.width, own.height) != size:
        return False
    with Image.open(io.BytesIO(own.data)) as one, Image.open(io.BytesIO(copy.data)) as other:
        off = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    return max(off.mean) <= _MEAN and max(high for _, high in off.extrema) <= _MOST
