"""PillowEngine: the fallback where libvips cannot be had. The same contract; where it differs:

| what                           | libvips                            | Pillow                                    |
|--------------------------------|------------------------------------|-------------------------------------------|
| memory                         | a few rows of the source           | the whole (shrunk) picture                |
| cut position                   | whole pixels                       | fractions of a pixel                      |
| transparency while resizing    | floating point                     | 8 bits, premultiplied                     |
| 16-bit RGB, profiles of 16-bit | converted at 16 bits               | cut to 8 bits by the decoder              |
| CMYK without a profile         | a built-in press profile           | the plain formula: brighter colours       |
| ``crop="smart"``               | attention: skin, saturation, edges | entropy of an 8 x 8 grid                  |
| EXIF in a PNG text chunk       | honoured                           | ignored, as browsers do                   |
| damage below a cut             | not looked for in a complete JPEG  | found                                     |

Pixels agree within 3 levels on average, for all but CMYK without a profile. The encoder efforts are in
:mod:`easyimg.engines._pillow_encode`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PIL import Image, features

from easyimg.engines import _pillow_pixels as pixels
from easyimg.engines._pillow_encode import encode
from easyimg.engines._pillow_source import Stored, decoding
from easyimg.engines._plan import Output, cascade, check_size, last_line, outputs, regions, shrink_on_load
from easyimg.engines.orientation import stored_box, swapped
from easyimg.errors import BuildError
from easyimg.geometry import Box, Focus, Frame, Size
from easyimg.ports import Encoded
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

_WRITES: Final = ("jpeg", "png", "webp", "avif")


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
        self, data: bytes, format: str, specs: Sequence[VariantSpec], focus: Focus | None = None
    ) -> list[Encoded]:
        """Return one Encoded per spec from one decode."""
        info = self.probe(data, format)
        with decoding():
            wanted, pictures = _pictures(Stored(data, format), info, specs, focus)
        files: dict[Output, Encoded] = {}
        for index, output in enumerate(wanted):
            if output not in files:
                files[output] = _encoded(pictures[output.frame], output, index)
        return [files[output] for output in wanted]


def _pictures(
    source: Stored, info: SourceInfo, specs: Sequence[VariantSpec], focus: Focus | None
) -> tuple[list[Output], dict[Frame, Image.Image]]:
    """Return the outputs wanted and the picture of each frame: upright, 8-bit sRGB."""
    wanted = outputs(specs, info, focus)
    asked = regions(wanted)
    if not asked:
        return wanted, {}
    turned = {_turned_box(source, box): [swapped(s, source.orientation) for s in sizes] for box, sizes in asked.items()}
    image = source.decoded(shrink_on_load(turned))
    profile = image.info.get("icc_profile")
    image = pixels.plain(image)
    if any(spec.crop == "smart" and spec.ratio is not None for spec in specs):
        small = image.resize(_fitted(Size(*image.size), 256), Image.Resampling.BOX)
        found = pixels.entropy_focus(pixels.upright(pixels.to_srgb(small, profile), source.orientation))
        wanted = outputs(specs, info, focus, found)
    made: dict[Frame, Image.Image] = {}
    for box, sizes in regions(wanted).items():
        for size, picture in _family(source, image, profile, box, sizes).items():
            made[Frame(box, size)] = picture
    return wanted, made


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


def _encoded(picture: Image.Image, output: Output, index: int) -> Encoded:
    try:
        data = encode(picture, output)
    except (OSError, ValueError, KeyError, MemoryError) as exc:
        raise BuildError(f"Pillow cannot write {output.format}: {last_line(str(exc))}", spec_index=index) from exc
    return Encoded(data, output.format, *output.frame.size)
