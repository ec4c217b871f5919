"""Animations with Pillow: the composed frames of a source, and the files of finished frames.

The efforts of WebP are those of stills; GIF has none, see :mod:`easyimg.engines._pillow_gif`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from PIL import GifImagePlugin, Image

from easyimg.engines import _apng as apng
from easyimg.engines import _pillow_pixels as pixels
from easyimg.engines._animation import Animation, with_alpha
from easyimg.engines._gif import clears, covers, extent
from easyimg.engines._pillow_encode import OPTIONS, flattened
from easyimg.engines._pillow_gif import gif
from easyimg.engines._pillow_source import Stored, covered, no_warnings
from easyimg.engines._plan import Output
from easyimg.errors import SourceUnreadable

_NEVER: Final = {"kmin": (1 << 31) - 2, "kmax": (1 << 31) - 1}
"""No frame of a WebP is repeated whole for the sake of seeking, as libvips decides."""


def frames(data: bytes, format: str) -> Iterator[tuple[Image.Image, float]]:
    """Return each frame as it is shown, as stored, in a plain mode, and its delay in milliseconds."""
    if format == "png":
        yield from _composed(data)
        return
    source = Stored(data, format)
    image, size = source.image, source.size
    masks = None
    if format == "gif":
        masks = covers(data, size) if source.is_partial or clears(data) else None
        reaches = extent(data)
        if reaches.width > size.width or reaches.height > size.height:
            raise SourceUnreadable("a frame of the animation is larger than the picture")
    for number in range(getattr(image, "n_frames", 1)):
        if isinstance(image, GifImagePlugin.GifImageFile):
            image.disposal_method = 0  # Pillow (13.0) keeps that of an earlier frame for one that says nothing
        with no_warnings():
            image.seek(number)
        image.load()
        shown = covered(image, next(masks)) if masks else image.copy()
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
    if output.format == "gif":
        return gif(made, animation)
    has_alpha = any(_is_clear_somewhere(frame) for frame in made)
    data = _webp([frame.convert("RGBA" if has_alpha else "RGB") for frame in made], animation, output)
    return with_alpha(data) if has_alpha else data


def _webp(frames: list[Image.Image], animation: Animation, output: Output) -> bytes:
    out = io.BytesIO()
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
    return out.getvalue()


def _prepared(frame: Image.Image, output: Output) -> Image.Image:
    if output.background is not None and frame.has_transparency_data:
        frame = flattened(frame, output.background)
    frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
    frame.info = {}
    return frame


def _is_clear_somewhere(frame: Image.Image) -> bool:
    return frame.mode == "RGBA" and frame.getchannel("A").getextrema() != (255, 255)
