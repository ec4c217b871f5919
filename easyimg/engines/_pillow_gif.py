"""Animated GIF with Pillow: 255 colours for all frames together, or of their own where those do not suit, and nothing.

Not dithered: its grain would move from frame to frame, and be most of the file (measured: 640 instead of 54 kB for a
small thing that moves over a photograph).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

from PIL import Image, ImageChops, ImageStat

from easyimg.engines._animation import Animation, gif_delay

_CLEAR: Final = 255
"""The palette entry that means transparency."""

_GONE: Final = [255] * 128 + [0] * 128
"""GIF knows no half transparency: what is less than half there, is not there."""

_SAMPLE, _SAMPLED = 8_000, 16
"""Pixels, of so many frames at most, that colours are chosen by: median cut takes seconds for all of a photograph."""

_DOUBTFUL, _BETTER = 6.0, 0.75
"""Levels (root mean square) from which own colours are tried for a frame, and taken if they are so much nearer."""


def gif(frames: Sequence[Image.Image], animation: Animation) -> bytes:
    """Return the file of RGB or RGBA frames, which carry no ``info``."""
    colours = [frame.convert("RGB") for frame in frames]
    shared = _palette(colours[:: -(-len(colours) // _SAMPLED)])
    made = [_reduced(frame, rgb, shared) for frame, rgb in zip(frames, colours, strict=True)]
    options: dict[str, Any] = {} if animation.plays == 1 else {"loop": max(0, animation.plays - 1)}
    if any("transparency" in frame.info for frame in made):
        # Nothing shows through where the next frame is transparent, and no index is moved to another colour.
        options |= {"disposal": 2, "optimize": False}
        _name_clear(made)
    delays = [gif_delay(delay) for delay in animation.delays]
    out = io.BytesIO()
    made[0].save(out, "GIF", save_all=True, append_images=made[1:], duration=delays, **options)
    return out.getvalue()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Return a picture whose palette suits some frames of one size."""
    width, height = frames[0].size
    scale = min(1.0, (_SAMPLE / (len(frames) * width * height)) ** 0.5)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    sample = Image.new("RGB", (size[0] * len(frames), size[1]))
    for place, frame in enumerate(frames):
        sample.paste(frame.resize(size, Image.Resampling.NEAREST), (place * size[0], 0))
    return sample.quantize(_CLEAR)


def _reduced(frame: Image.Image, rgb: Image.Image, shared: Image.Image) -> Image.Image:
    """Return a frame in at most 255 colours; what is less than half there becomes transparent."""
    reduced, distance = _nearest(rgb, shared)
    if distance > _DOUBTFUL:
        own, own_distance = _nearest(rgb, _palette([rgb]))
        reduced = own if own_distance < _BETTER * distance else reduced
    if frame.mode == "RGBA":
        gone = frame.getchannel("A").point(_GONE)
        if gone.getextrema() != (0, 0):
            reduced.paste(_CLEAR, mask=gone)
            reduced.info["transparency"] = _CLEAR
    return reduced


def _nearest(rgb: Image.Image, palette: Image.Image) -> tuple[Image.Image, float]:
    """Return a picture in the colours of another one, and how far they are from its own."""
    reduced = rgb.quantize(palette=palette, dither=Image.Dither.NONE)
    squares = ImageStat.Stat(ImageChops.difference(reduced.convert("RGB"), rgb)).rms
    return reduced, (sum(value**2 for value in squares) / 3) ** 0.5


def _name_clear(frames: Sequence[Image.Image]) -> None:
    """Let every frame have the entry for transparency, of a colour that none shows.

    Decoders clear the place of a frame that has no such entry to the background colour. And Pillow leaves out the edges
    of a frame that look like what was cleared before it, comparing without transparency: a black edge would be taken
    for a cleared one if that entry were black.
    """
    palettes = [(frame.getpalette() or [])[: 3 * _CLEAR] for frame in frames]
    shown = {tuple(palette[at : at + 3]) for palette in palettes for at in range(0, len(palette), 3)}
    free = next(colour for colour in _colours() if colour not in shown)
    for frame, palette in zip(frames, palettes, strict=True):
        frame.info["transparency"] = _CLEAR
        frame.putpalette(palette + [0] * (3 * _CLEAR - len(palette)) + list(free))


def _colours() -> Iterator[tuple[int, int, int]]:
    return ((n & 255, n >> 8 & 255, n >> 16) for n in range(1 << 24))
