"""What each encoder of Pillow is told. The same codecs as libvips', under other names; the table of efforts:

| effort   | JPEG                    | WebP method | AVIF speed | PNG zlib level |
|----------|-------------------------|-------------|------------|----------------|
| fast     | plain                   | 2           | 9          | 1              |
| balanced | plain                   | 4           | 9          | 6              |
| small    | optimised, progressive  | 6           | 7          | 9              |

AVIF speeds 9 / 7 are libvips' efforts 0 / 2 and give the same bytes in the same time, within 1 %.
"""

from __future__ import annotations

import io
from typing import Any, Final

from PIL import Image

from easyimg.engines._plan import Output

OPTIONS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "jpeg": {"fast": {}, "balanced": {}, "small": {"optimize": True, "progressive": True}},
    "webp": {"fast": {"method": 2}, "balanced": {"method": 4}, "small": {"method": 6}},
    "avif": {"fast": {"speed": 9}, "balanced": {"speed": 9}, "small": {"speed": 7}},
    "png": {"fast": {"compress_level": 1}, "balanced": {"compress_level": 6}, "small": {"compress_level": 9}},
}


def encode(image: Image.Image, output: Output) -> bytes:
    """Return the file of an L, LA, RGB or RGBA picture, without any metadata.

    Raises:
        OSError, ValueError, KeyError: the encoder failed, or is not part of this Pillow.
    """
    if output.background is not None and image.has_transparency_data:
        image = flattened(image, output.background)
    if output.format in ("webp", "avif") and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    image.info = {}  # several encoders write what they find here: profile, comment, EXIF
    options = dict(OPTIONS[output.format][output.effort])
    if output.format != "png":
        options["quality"] = output.quality
    if output.format == "jpeg":
        options["subsampling"] = "4:2:0" if output.quality < 90 else "4:4:4"  # as libvips decides
    if output.format == "avif":
        options["max_threads"] = 1
    out = io.BytesIO()
    image.save(out, output.format.upper(), **options)
    return out.getvalue()


def flattened(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Return an RGB picture with a colour behind what was transparent."""
    image = image.convert("RGBA")
    below = Image.new("RGB", image.size, colour)
    below.paste(image, mask=image.getchannel("A"))
    return below
