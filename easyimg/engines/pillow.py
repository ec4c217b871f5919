"""PillowEngine: the fallback where libvips cannot be had. The same contract.

Where its answers differ is one table, in ``docs/engines.md``. The encoder efforts are in
:mod:`easyimg.engines._pillow_encode`, those of animations in :mod:`easyimg.engines._pillow_animation`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from PIL import Image, features

from easyimg.engines import _pillow_animation as animation
from easyimg.engines import _pillow_pixels as pixels
from easyimg.engines._animation import Animation, animations
from easyimg.engines._glimpse import glimpse
from easyimg.engines._pillow_encode import encode
from easyimg.engines._pillow_source import Stored, decoding
from easyimg.engines._plan import Output, cascade, check_size, last_line, outputs, regions, shrink_on_load
from easyimg.engines.orientation import stored_box, swapped
from easyimg.errors import BuildError
from easyimg.geometry import Box, Focus, Frame, Size
from easyimg.ports import Encoded
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

_WRITES: Final = ("jpeg", "png", "webp", "avif", "gif")


class PillowEngine:
    """The engine on Pillow. Thread-safe, may be used before and after a fork; fits :class:`easyimg.ports.Engine`."""

    name = "pillow"

    def can_write(self, format: str) -> bool:
        """Return whether this Pillow was built with that encoder."""
        return format in _WRITES and (format not in ("webp", "avif") or bool(features.check(format)))

    def probe(self, data: bytes, format: str) -> SourceInfo:
        """Return what the header says; counting a GIF's frames reads the whole file."""
        with decoding():
            return Stored(data, format).info()

    def build(
        self,
        data: bytes,
        format: str,
        specs: Sequence[VariantSpec],
        focus: Focus | None = None,
        *,
        glimpse_of: int | None = None,
    ) -> list[Encoded]:
        """Return one Encoded per spec from one decode."""
        info = self.probe(data, format)
        with decoding():
            source = Stored(data, format)
            wanted, pictures = _pictures(source, info, specs, focus)
            moving = _animations(source, [output for output in wanted if output.animated])
        files: dict[Output, Encoded] = {}
        for index, output in enumerate(wanted):
            if output not in files:
                files[output] = _encoded((moving if output.animated else pictures)[output.frame], output, index)
        found = [files[output] for output in wanted]
        picture = None if glimpse_of is None else pictures.get(wanted[glimpse_of].frame)
        if glimpse_of is not None and picture is not None:
            found[glimpse_of] = found[glimpse_of]._replace(glimpse=glimpse(picture))
        return found


def _pictures(
    source: Stored, info: SourceInfo, specs: Sequence[VariantSpec], focus: Focus | None
) -> tuple[list[Output], dict[Frame, Image.Image]]:
    """Return the outputs wanted and the picture of each still's frame: upright, 8-bit sRGB."""
    wanted = outputs(specs, info, focus)
    asked = regions(output for output in wanted if not output.animated)
    smart = any(spec.crop == "smart" and spec.ratio is not None for spec in specs)
    if not asked and not smart:
        return wanted, {}
    turned = {_turned_box(source, box): [swapped(s, source.orientation) for s in sizes] for box, sizes in asked.items()}
    image = source.decoded(shrink_on_load(turned, specs))
    profile = image.info.get("icc_profile")
    image = pixels.plain(image)
    if smart:
        small = image.resize(_fitted(Size(*image.size), 256), Image.Resampling.BOX)
        found = pixels.entropy_focus(pixels.upright(pixels.to_srgb(small, profile), source.orientation))
        wanted = outputs(specs, info, focus, found)
    made: dict[Frame, Image.Image] = {}
    for box, sizes in regions(output for output in wanted if not output.animated).items():
        for size, picture in _family(source, image, profile, box, sizes).items():
            made[Frame(box, size)] = picture
    return wanted, made


def _animations(source: Stored, wanted: list[Output]) -> dict[Frame, Animation]:
    """Return, by frame, the animation of each output that keeps it; where there is none, nothing is decoded."""
    if not wanted:
        return {}

    def make(picture: Image.Image, box: Box, sizes: list[Size]) -> dict[Size, Image.Image]:
        return _family(source, picture, picture.info.get("icc_profile"), box, sizes)

    data, format = source.data, source.format
    return animations(animation.frames(data, format), animation.plays(data, format), wanted, make)


def _fitted(size: Size, side: int) -> Size:
    scale = min(1.0, side / max(size))
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def _turned_box(source: Stored, box: Box) -> Box:
    return stored_box(box, swapped(source.size, source.orientation), source.orientation)


def _family(
    source: Stored, image: Image.Image, profile: bytes | None, box: Box, sizes: list[Size]
) -> dict[Size, Image.Image]:
    """Return the pictures of one region: the largest from the source, the others from larger ones."""
    turned = swapped(sizes[0], source.orientation)
    largest = pixels.part(image, _turned_box(source, box), source.size, turned)
    made = {sizes[0]: pixels.to_srgb(pixels.upright(largest, source.orientation), profile)}
    for size, parent in cascade(sizes):
        made[size] = pixels.smaller(made[parent], size)
    for size, picture in made.items():
        check_size(Size(*picture.size), size)
    return made


def _encoded(picture: Any, output: Output, index: int) -> Encoded:
    try:
        data = animation.encode(picture, output) if output.animated else encode(picture, output)
    except (OSError, ValueError, KeyError, MemoryError, struct.error) as exc:
        raise BuildError(f"Pillow cannot write {output.format}: {last_line(str(exc))}", spec_index=index) from exc
    return Encoded(data, output.format, *output.frame.size)
