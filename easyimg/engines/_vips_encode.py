"""What each encoder of libvips is told. The table of efforts, and why each value:

| effort   | JPEG                    | WebP | AVIF | PNG                       |
|----------|-------------------------|------|------|---------------------------|
| fast     | plain                   | 2    | 0    | zlib 1, sub filter        |
| balanced | plain                   | 4    | 0    | zlib 6, adaptive filters  |
| small    | optimised, progressive  | 6    | 2    | zlib 9, adaptive filters  |

What each costs and buys is measured in ``docs/benchmarks.md``, "Effort". AVIF never gets libvips' own default of 4:
1,170 ms for 896 x 504 pixels, where 0 takes 23.
"""

from __future__ import annotations

from typing import Any, Final

from easyimg.engines._plan import Output

OPTIONS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "jpeg": {"fast": {}, "balanced": {}, "small": {"optimize_coding": True, "interlace": True}},
    "webp": {"fast": {"effort": 2}, "balanced": {"effort": 4}, "small": {"effort": 6}},
    "avif": {"fast": {"effort": 0}, "balanced": {"effort": 0}, "small": {"effort": 2}},
    "png": {
        "fast": {"compression": 1, "filter": "sub"},
        "balanced": {"compression": 6, "filter": "all"},
        "small": {"compression": 9, "filter": "all"},
    },
}


def encode(image: Any, output: Output) -> bytes:
    """Return the file of an 8-bit sRGB or grey picture in memory, without any metadata.

    Raises:
        pyvips.Error: the encoder failed.
    """
    image = flattened(image, output)
    options = OPTIONS[output.format][output.effort]
    data: bytes
    if output.format == "jpeg":
        data = image.jpegsave_buffer(Q=output.quality, keep="none", **options)
    elif output.format == "webp":
        data = image.webpsave_buffer(Q=output.quality, keep="none", **options)
    elif output.format == "avif":
        data = image.heifsave_buffer(Q=output.quality, compression="av1", bitdepth=8, keep="none", **options)
    else:
        # The resolution is not among the metadata that keep="none" drops: the same for every source.
        data = image.copy(xres=1.0, yres=1.0).pngsave_buffer(keep="none", **options)
    return data


def flattened(image: Any, output: Output) -> Any:
    """Return the picture with the output's background behind it, if it has one and there is anything to see of it."""
    if output.background is None or not image.hasalpha():
        return image
    if image.bands < 3:  # grey before a coloured background is a coloured picture
        image = image.copy(interpretation="b-w").colourspace("srgb")
    return image.flatten(background=list(output.background))
