"""Animations with libvips: the frames of a source, one after the other, and the files of finished frames.

libvips holds an animation as one tall strip of frames, read from its top to its end: frames are cut off it in order, so
that one of them is in memory at a time, and put together again for the encoder. It does not read APNG; those frames
come from Pillow.

| effort   | WebP | GIF |
|----------|------|-----|
| fast     | 2    | 1   |
| balanced | 4    | 4   |
| small    | 6    | 7   |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pyvips

from easyimg.engines import _apng as apng
from easyimg.engines._animation import Animation, gif_delay, with_alpha
from easyimg.engines._gif import clears, covers, extent
from easyimg.engines._plan import Output, check_size
from easyimg.engines._vips_encode import OPTIONS, flattened
from easyimg.engines._vips_source import Stored, covered
from easyimg.geometry import Size

_GIF_EFFORTS: Final = {"fast": 1, "balanced": 4, "small": 7}


def frames(source: Stored) -> Iterator[tuple[Any, float]]:
    """Return each frame as it is shown, as stored, in memory, and its delay in milliseconds."""
    if source.format == "png":
        yield from _from_pillow(source.data)
        return
    masks = None
    if source.format == "gif":
        extent(source.data)  # refuses one that is cut off
        masks = covers(source.data, source.size) if source.is_partial or clears(source.data) else None
    strip = source.open(n=-1)
    width, height = source.size
    count = source.info.frames
    check_size(Size(strip.width, strip.height), Size(width, height * count))
    delays = strip.get("delay") if strip.get_typeof("delay") else []
    for number in range(count):
        frame = strip.crop(0, number * height, width, height).copy_memory()
        yield covered(frame, next(masks)) if masks else frame, delays[number] if number < len(delays) else 0


def plays(source: Stored) -> int:
    """Return how often all frames are shown; 0 = for ever."""
    if source.format == "png":
        return apng.plays(source.data)
    found: int = source.header.get("loop") if source.header.get_typeof("loop") else 0
    return found


def _from_pillow(data: bytes) -> Iterator[tuple[Any, float]]:
    from easyimg.engines import _pillow_animation, _pillow_source

    with _pillow_source.decoding():
        for picture, delay in _pillow_animation.frames(data, "png"):
            image = pyvips.Image.new_from_memory(picture.tobytes(), *picture.size, 4, "uchar")
            image = image.copy(interpretation="srgb")
            profile = picture.info.get("icc_profile")
            if profile:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
            yield image, delay


def encode(animation: Animation, output: Output) -> bytes:
    """Return the file of 8-bit sRGB or grey frames in memory, without any metadata.

    Raises:
        pyvips.Error: the encoder failed.
    """
    made = [flattened(frame, output) for frame in animation.frames]
    delays = animation.delays if output.format == "webp" else [gif_delay(delay) for delay in animation.delays]
    strip = pyvips.Image.arrayjoin(made, across=1).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", output.frame.size.height)
    strip.set_type(pyvips.GValue.array_int_type, "delay", delays)
    strip.set_type(pyvips.GValue.gint_type, "loop", animation.plays)
    data: bytes
    if output.format == "webp":
        data = strip.webpsave_buffer(Q=output.quality, keep="none", **OPTIONS["webp"][output.effort])
        if any(frame.hasalpha() and frame[frame.bands - 1].min() < 255 for frame in made):
            data = with_alpha(data)
    else:
        data = strip.gifsave_buffer(keep="none", effort=_GIF_EFFORTS[output.effort])
    return data
