"""Animations with Pillow: the composed frames of a source, and the files of finished frames.

| effort   | WebP method | GIF                            |
|----------|-------------|--------------------------------|
| fast     | 2           | the nearest colours            |
| balanced | 4           | dithered (Floyd and Steinberg) |
| small    | 6           | the nearest colours            |

A frame of a GIF has its own 255 colours and one for transparency.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final

from PIL import Image

from easyimg.engines import _apng as apng
from easyimg.engines import _pillow_pixels as pixels
from easyimg.engines._animation import Animation, gif_delay, with_alpha
from easyimg.engines._pillow_encode import OPTIONS, flattened
from easyimg.engines._pillow_source import Stored
from easyimg.engines._plan import Output
from easyimg.errors import SourceUnreadable
from easyimg.geometry import Size

_CLEAR: Final = 255
"""The palette entry that means transparency."""

_HALF: Final = [0] * 128 + [255] * 128
"""GIF knows no half transparency: what is at least half there, is there."""

_NEVER: Final = {"kmin": (1 << 31) - 2, "kmax": (1 << 31) - 1}
"""No frame of a WebP is repeated whole for the sake of seeking, as libvips decides."""


def frames(data: bytes, format: str) -> Iterator[tuple[Image.Image, float]]:
    """Return each frame as it is shown, as stored, in a plain mode, and its delay in milliseconds."""
    if format == "png":
        yield from _composed(data)
        return
    image = Stored(data, format).image
    size = Size(*image.size)
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        if Size(*image.size) != size:  # seen before it is loaded: it may be as large as a GIF's numbers allow
            raise SourceUnreadable("a frame of the animation is larger than the picture")
        image.load()
        shown = image.copy()
        yield pixels.plain(shown), image.info.get("duration", 0)


def plays(data: bytes, format: str) -> int:
    """Return how often all frames are shown; 0 = for ever."""
    if format == "png":
        return apng.plays(data)
    found: int | None = Stored(data, format).image.info.get("loop")
    if format == "gif":  # says how often it is repeated, or nothing
        return 1 if found is None else found + 1 if found else 0
    return found or 0


def _composed(data: bytes) -> Iterator[tuple[Image.Image, float]]:
    """Return the frames of an APNG, put together as its specification says (section 13.17)."""
    first = Stored(data, "png")
    canvas = Image.new("RGBA", first.size)
    for part in apng.parts(data):
        still = Stored(part.png, "png").decoded(1)
        one = pixels.plain(still).convert("RGBA")
        place = (part.left, part.top, part.left + part.size.width, part.top + part.size.height)
        before = canvas.crop(place) if part.restores else None
        if part.blends:
            canvas.alpha_composite(one, place[:2])
        else:
            canvas.paste(one, place[:2])
        shown = canvas.copy()
        shown.info = {key: value for key, value in still.info.items() if key == "icc_profile"}
        yield shown, part.delay
        if part.clears:
            canvas.paste((0, 0, 0, 0), place)
        elif before is not None:
            canvas.paste(before, place)


def encode(animation: Animation, output: Output) -> bytes:
    """Return the file of L, LA, RGB or RGBA frames, without any metadata.

    Raises:
        OSError, ValueError, KeyError: the encoder failed, or is not part of this Pillow.
    """
    made = [_prepared(frame, output) for frame in animation.frames]
    out = io.BytesIO()
    if output.format == "gif":
        _save_gif(out, made, animation, dithers=output.effort == "balanced")
        return out.getvalue()
    has_alpha = any(_is_clear_somewhere(frame) for frame in made)
    _save_webp(out, [frame.convert("RGBA" if has_alpha else "RGB") for frame in made], animation, output)
    return with_alpha(out.getvalue()) if has_alpha else out.getvalue()


def _save_webp(out: io.BytesIO, frames: list[Image.Image], animation: Animation, output: Output) -> None:
    options = {**OPTIONS["webp"][output.effort], **_NEVER, "quality": output.quality}
    frames[0].save(
        out,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=animation.delays,
        loop=animation.plays,
        background=(0, 0, 0, 0),
        **options,
    )


def _prepared(frame: Image.Image, output: Output) -> Image.Image:
    if output.background is not None and frame.has_transparency_data:
        frame = flattened(frame, output.background)
    frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
    frame.info = {}
    return frame


def _is_clear_somewhere(frame: Image.Image) -> bool:
    return frame.mode == "RGBA" and frame.getchannel("A").getextrema() != (255, 255)


def _save_gif(out: io.BytesIO, frames: list[Image.Image], animation: Animation, *, dithers: bool) -> None:
    options: dict[str, Any] = {} if animation.plays == 1 else {"loop": max(0, animation.plays - 1)}
    made = [_reduced(frame, dithers=dithers) for frame in frames]
    if any("transparency" in frame.info for frame in made):
        # Nothing shows through where the next frame is transparent, and no index is moved to another colour.
        options |= {"disposal": 2, "optimize": False}
        _name_clear(made)
    delays = [gif_delay(delay) for delay in animation.delays]
    made[0].save(out, "GIF", save_all=True, append_images=made[1:], duration=delays, **options)


def _reduced(frame: Image.Image, *, dithers: bool) -> Image.Image:
    """Return a frame in at most 255 colours of its own; what is less than half there becomes transparent."""
    colours = frame.convert("RGB")
    reduced = colours.quantize(_CLEAR)
    if dithers:
        reduced = colours.quantize(palette=reduced, dither=Image.Dither.FLOYDSTEINBERG)
    if frame.mode == "RGBA":
        gone = frame.getchannel("A").point(_HALF).point(lambda value: 255 - value)
        if gone.getextrema() != (0, 0):
            reduced.paste(_CLEAR, mask=gone)
            reduced.info["transparency"] = _CLEAR
    return reduced


def _name_clear(frames: list[Image.Image]) -> None:
    """Let every frame have the entry for transparency, of a colour that none shows.

    Decoders clear the place of a frame that has no such entry to the background colour. And Pillow leaves out the edges
    of a frame that look like what was cleared before it, comparing without transparency: a black edge would be taken
    for a cleared one if that entry were black.
    """
    palettes = [frame.getpalette() or [] for frame in frames]
    shown = {tuple(p[at : at + 3]) for p in palettes for at in range(0, len(p), 3)}
    free = next(colour for colour in _colours() if colour not in shown)
    for frame, palette in zip(frames, palettes, strict=True):
        frame.info["transparency"] = _CLEAR
        frame.putpalette((palette[: 3 * _CLEAR] + [0] * (3 * _CLEAR))[: 3 * _CLEAR] + list(free))


def _colours() -> Iterator[tuple[int, int, int]]:
    return ((n & 255, n >> 8 & 255, n >> 16) for n in range(1 << 24))
