"""Preview: a picture's dominant colour and a blurred picture of a few hundred bytes, shown until the real one is there.

A build has the engine look at one of the pictures that it makes anyway (``Glimpse``): the whole picture where that
is among the files, else the largest cut. Making it of the whole picture always would cost a build of nothing but cuts
up to a fifth more: libvips decodes no rows below a cut, and holds no picture from which to take two of them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final, NamedTuple

from easyimg.geometry import Box, Focus, Size, Window
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

MAX_DATA: Final = 400
"""Longest base64 text of the blurred picture; noise gives more, and then has the colour alone."""

_NEAR: Final = 0.002
"""Fractions of the source: rounding, and far less than one of the 16 pixels."""


class Glimpse(NamedTuple):
    """What is seen of a picture in at most 16 x 16 pixels, all of it: its dominant colour ``"#rrggbb"``, and a WebP."""

    color: str
    data: bytes


class Preview(NamedTuple):
    """What is shown of a source until its files are loaded, as its row holds it.

    Args:
        color: ``"#rrggbb"``: the mean of the most common kind of colour.
        blur: the region shown (left, top, right, bottom, fractions of the upright source) and a WebP as base64, all
            with spaces between; ``""`` = none.
    """

    color: str
    blur: str = ""

    @property
    def window(self) -> Window | None:
        """The region that ``blur`` shows."""
        return Window(*map(float, self.blur.split(" ")[:4])) if self.blur else None

    def shows(self, window: Window) -> bool:
        """Return whether ``blur`` shows all of a region."""
        own = self.window
        return own is not None and _contains(own, window)

    def style(self, placeholder: str, window: Window | None) -> str:
        """Return the CSS ``background`` of an ``<img>``: inside its padding, so that the picture covers it wholly.

        Args:
            placeholder: ``"color"`` or ``"blur"``.
            window: the region that the ``<img>`` will show; None = not known. Unless ``blur`` shows all of it, there is
                the colour alone.
        """
        own = self.window
        if placeholder != "blur" or own is None or window is None or not _contains(own, window):
            return f"background: {self.color} content-box"
        place = "50% 50% / cover"
        if not _contains(window, own):
            across, down = (_zoom(*own[axis::2], *window[axis::2]) for axis in (0, 1))
            place = f"{across[0]} {down[0]} / {across[1]} {down[1]}"
        data = self.blur.rpartition(" ")[2]
        return f"background: {self.color} url(data:image/webp;base64,{data}) {place} content-box"


def window_of(region: Box, source: Size) -> Window:
    """Return a region as fractions of the source."""
    left, top, width, height = region
    across, down = source
    return Window(left / across, top / down, (left + width) / across, (top + height) / down)


def _contains(outer: Window, inner: Window) -> bool:
    return (
        outer.left <= inner.left + _NEAR
        and outer.top <= inner.top + _NEAR
        and outer.right >= inner.right - _NEAR
        and outer.bottom >= inner.bottom - _NEAR
    )


def _zoom(start: float, end: float, first: float, last: float) -> tuple[str, str]:
    """Return CSS position and size, on one axis, by which a picture of start..end shows just first..last.

    A percentage as position puts that point of the picture onto the same point of the box:
    https://drafts.csswg.org/css-backgrounds-3/#the-background-position
    """
    spare = (end - start) - (last - first)
    position = (first - start) / spare if spare > _NEAR else 0.5
    return _percent(min(1.0, max(0.0, position))), _percent((end - start) / (last - first))


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.4g}%" if fraction < 100 else f"{fraction * 100:.0f}%"


# Making one.


def glimpsed(specs: Sequence[VariantSpec], info: SourceInfo, focus: Focus | None, known: Preview | None) -> int | None:
    """Return which of some files to make the preview from, by its place; None where there is nothing to gain.

    The smallest of those that show most. A transparent source has no preview, which would show through, and neither has
    an animation, any frame of which may be transparent.

    Args:
        specs: what is built of the source now.
        info, focus: of the source.
        known: what its row has already: kept unless the new one would show more.
    """
    if not specs or info.has_alpha or info.is_animated:
        return None

    def order(place: int) -> tuple[bool, float, int]:
        frame = specs[place].frame(info.size, focus)
        area = frame.region.width * frame.region.height
        return not _is_smart(specs[place]), area, -frame.size.width * frame.size.height

    best = max(range(len(specs)), key=order)
    if _is_smart(specs[best]):  # only the engine knows what that cuts: good for the colour
        return best if known is None else None
    is_known = known is not None and known.shows(window_of(specs[best].frame(info.size, focus).region, info.size))
    return None if is_known else best


def make_preview(glimpse: Glimpse, spec: VariantSpec, info: SourceInfo, focus: Focus | None) -> Preview:
    """Return the preview from what an engine saw of a file.

    Args:
        glimpse: of the file.
        spec: the file's.
        info, focus: of the source.
    """
    data = b64encode(glimpse.data).decode()
    if not 0 < len(data) <= MAX_DATA or _is_smart(spec):
        return Preview(glimpse.color)
    window = window_of(spec.frame(info.size, focus).region, info.size)
    return Preview(glimpse.color, " ".join([*(f"{edge:.4f}".rstrip("0").rstrip(".") for edge in window), data]))


def _is_smart(spec: VariantSpec) -> bool:
    return spec.crop == "smart" and spec.ratio is not None
