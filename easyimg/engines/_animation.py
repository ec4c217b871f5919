"""Animations, as both engines see them: frames of one size with their delays, and how often they play."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from easyimg.engines._plan import Output, regions
from easyimg.errors import SourceUnreadable
from easyimg.geometry import Box, Frame, Size

_HASTY: Final = 10
_SHOWN: Final = 100
"""Milliseconds: browsers show a frame of 10 or less for 100, in every format (Chromium and Firefox; WebKit as well)."""

_LONGEST: Final = 655_350
"""Milliseconds: GIF's 16 bits of hundredths (GIF89a, section 23)."""

_MOST_PLAYS: Final = 65_535


@dataclass(slots=True)
class Animation:
    """Frames of one size, in the order they are shown.

    Args:
        plays: how often all frames are shown; 0 = for ever.
        frames: the engine's own pictures.
        delays: how long each is shown, milliseconds.
    """

    plays: int
    frames: list[Any] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)


def animations(
    frames: Iterable[tuple[Any, float]],
    plays: int,
    wanted: Sequence[Output],
    make: Callable[[Any, Box, list[Size]], dict[Size, Any]],
) -> dict[Frame, Animation]:
    """Return the animation of each frame that the outputs show, from one pass over the source.

    Args:
        frames: whole pictures of the source, composed, each with its delay in milliseconds.
        plays: how often the source plays.
        wanted: the outputs.
        make: returns the pictures of one region of a source's picture, by size.

    Raises:
        SourceUnreadable: there are no frames.
    """
    asked = regions(wanted)
    made = {Frame(box, size): Animation(min(plays, _MOST_PLAYS)) for box, sizes in asked.items() for size in sizes}
    for picture, delay in frames:
        for box, sizes in asked.items():
            for size, one in make(picture, box, sizes).items():
                animation = made[Frame(box, size)]
                animation.frames.append(one)
                animation.delays.append(shown_delay(delay))
    if not all(animation.frames for animation in made.values()):
        raise SourceUnreadable("the animation has no frames")
    return made


def shown_delay(milliseconds: float) -> int:
    """Return how long browsers show a frame of that delay: the same, but 100 ms for 10 and less."""
    return _SHOWN if milliseconds <= _HASTY else min(_LONGEST, round(milliseconds))


def gif_delay(milliseconds: int) -> int:
    """Return a delay rounded to GIF's hundredths, and at least two of them: one would be shown as ten."""
    return max(20, (milliseconds + 5) // 10 * 10)


def with_alpha(webp: bytes) -> bytes:
    """Return an animated WebP that says that it is transparent, above nothing.

    libwebp says so only if some frame holds transparent pixels, and a frame ends where its picture becomes transparent:
    decoders that believe the flag would show such a file on black. RFC 9649, sections 2.7 (flags) and 2.7.1.1 (ANIM).
    """
    if webp[12:16] != b"VP8X" or webp[30:34] != b"ANIM":
        return webp  # one frame was left, and a still says itself what it is
    changed = bytearray(webp)
    changed[20] |= 0x10
    changed[38:42] = bytes(4)
    return bytes(changed)
