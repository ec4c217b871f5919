"""What both engines decide before they touch a pixel: distinct outputs, shown regions, the order of resizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from easyimg.errors import BuildError, SourceUnreadable, shown
from easyimg.formats import FORMATS, encoder_quality
from easyimg.geometry import Box, Focus, Frame, Size
from easyimg.source import SourceInfo
from easyimg.spec import MAX_SIDE, VariantSpec

Colour = tuple[int, int, int]
WHITE: Final = (255, 255, 255)

CASCADE: Final = 1.9
"""How much larger a picture must be to make a smaller one from it, rather than from the largest."""

SPARE: Final = 2.0
"""Shrink-on-load leaves at least this many source pixels per output pixel and axis for the real resize."""

SPARE_IF_FAST: Final = 1.5
"""The same for a build of which every spec is ``effort="fast"``: up to 15 % less time for 0.002 of SSIM (measured)."""

SHRINKS: Final = (8, 4, 2, 1)
"""What a JPEG decoder can divide by while it decodes."""


class Output(NamedTuple):
    """One distinct file to make. Specs that resolve to equal Outputs share one file's bytes.

    Args:
        frame: the region shown (upright pixels) and the file's size.
        format: the file's format.
        quality: the encoder's own number; 100 where the format has none.
        effort: one of ``spec.EFFORTS``.
        background: put behind transparency; None = the source has none, or it is kept.
        animated: whether it holds all frames of the source; False = the first.
    """

    frame: Frame
    format: str
    quality: int
    effort: str
    background: Colour | None
    animated: bool = False


def outputs(
    specs: Sequence[VariantSpec], info: SourceInfo, focus: Focus | None, smart: Focus | None = None
) -> list[Output]:
    """Return what each spec asks of this source, in their order.

    Args:
        specs: the recipes.
        info: of the source.
        focus: the source's own point.
        smart: the point found by the engine, for specs with ``crop="smart"``.
    """
    return [_output(spec, info, smart or focus if spec.crop == "smart" else focus, i) for i, spec in enumerate(specs)]


def _output(spec: VariantSpec, info: SourceInfo, focus: Focus | None, index: int) -> Output:
    actual = spec.actual_format(info.has_alpha, info.is_animated)
    animated = spec.animated and info.is_animated and FORMATS[actual].animates
    background = None
    # Any frame of an animation may be transparent in places, whatever its header says.
    if (info.has_alpha or animated) and spec.background is not None:
        background = _colour(spec.background, index)
    elif info.has_alpha and not FORMATS[actual].alpha:
        background = WHITE
    frame = spec.frame(info.size, focus)
    width, height = frame.size
    if max(width, height) > MAX_SIDE:
        raise BuildError(
            f"a {actual} of {width:,} x {height:,} pixels; no side may be longer than {MAX_SIDE:,}", spec_index=index
        )
    return Output(frame, actual, _quality(spec, actual), spec.effort, background, animated)


def _quality(spec: VariantSpec, format: str) -> int:
    if format in ("png", "gif"):
        return 100
    return spec.quality if spec.exact_quality else encoder_quality(format, spec.quality)


def _colour(text: str, index: int) -> Colour:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError as exc:
        raise BuildError(f"background: {shown(text)} is not #rrggbb", spec_index=index) from exc
    return red, green, blue


def regions(wanted: Iterable[Output]) -> dict[Box, list[Size]]:
    """Return the sizes asked of each shown region, largest first."""
    found: dict[Box, set[Size]] = {}
    for output in wanted:
        found.setdefault(output.frame.region, set()).add(output.frame.size)
    return {region: sorted(sizes, reverse=True) for region, sizes in found.items()}


def cascade(sizes: Sequence[Size]) -> list[tuple[Size, Size]]:
    """Return (size, the size it is made from) for all but the first of sizes given largest first.

    Each is made from the smallest one that is about twice as large, which costs the fewest pixels at no visible loss;
    where there is none, from the largest.
    """
    steps = []
    for i, size in enumerate(sizes[1:], start=1):
        ample = [s for s in sizes[:i] if s.width >= CASCADE * size.width and s.height >= CASCADE * size.height]
        steps.append((size, ample[-1] if ample else sizes[0]))
    return steps


def shrink_on_load(asked: dict[Box, list[Size]], specs: Sequence[VariantSpec]) -> int:
    """Return the largest of 8, 4, 2, 1 that leaves :data:`SPARE` times the pixels of every size, on both axes.

    Args:
        asked: sizes by region, of the stored picture.
        specs: all that are built from the one decode.
    """
    needed = SPARE_IF_FAST if all(spec.effort == "fast" for spec in specs) else SPARE
    spare = min(
        (min(box.width / size.width, box.height / size.height) for box, sizes in asked.items() for size in sizes[:1]),
        default=1,
    )
    return next((s for s in SHRINKS if spare / s >= needed), 1)


def crop_offset(start: float, length: float, scale: float, size: int, room: int) -> int:
    """Return where a region begins, in whole pixels of a picture resized by ``scale`` and ``room`` pixels long.

    The region resized is up to a pixel longer than ``size``: the surplus is taken from both ends.
    """
    exact = start * scale + (length * scale - size) / 2
    return max(0, min(int(exact + 0.5), room - size))


def check_size(found: Size, promised: Size) -> None:
    """Refuse a source whose pixels are not what its header said."""
    if found != promised:
        raise SourceUnreadable(
            f"the header promises a variant of {promised.width} x {promised.height} pixels, "
            f"the content gives {found.width} x {found.height}"
        )


UNTOLD: Final = "the content cannot be decoded"
"""What is said where a decoder gives no reason."""


def last_line(text: str) -> str:
    """Return the last line of a decoder's message that holds a word, on one line, 200 characters at most."""
    lines = [line.strip() for line in text.splitlines() if any(map(str.isalpha, line))] or [UNTOLD]
    return "".join(c if c.isprintable() else "?" for c in lines[-1])[:200]
