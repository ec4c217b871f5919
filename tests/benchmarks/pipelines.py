"""Ways to make 448 x 252 fallback, 448 x 252 WebP and 896 x 504 WebP, quality 80, cut around the centre, of one source.

``chain_manual`` is the floor: what must be done and nothing else, written for libvips by hand; no orientation, no
profile, no check of the input, no errors of ours. ``python -m tests.benchmarks.pipelines NAME FILE`` runs one of them
and prints the most memory it took, MiB. Libraries are imported where they are used, so that each is charged for its
own only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

from tests.benchmarks.timing import own_peak

SMALL: Final = (448, 252)
LARGE: Final = (896, 504)

Files = list[bytes]


def chain_manual(source: str | Path | bytes, effort: int = 4) -> Files:
    """The floor, for a JPEG in sRGB with no orientation, and for an RGBA PNG."""
    image = _opened(source)
    if image.hasalpha():
        return _chain_of_cutout(image, effort)
    width, height = image.width, image.height
    shrink = next((s for s in (8, 4, 2) if min(width / LARGE[0], height / LARGE[1]) / s >= 2), 1)
    image = _opened(source, shrink=shrink)
    large = _cut(image.resize(max(LARGE[0] / image.width, LARGE[1] / image.height))).copy_memory()
    small = large.resize(0.5).copy_memory()
    return [
        small.jpegsave_buffer(Q=80, keep="none"),
        small.webpsave_buffer(Q=80, keep="none", effort=effort),
        large.webpsave_buffer(Q=80, keep="none", effort=effort),
    ]


def _chain_of_cutout(image: Any, effort: int) -> Files:
    scale = max(LARGE[0] / image.width, LARGE[1] / image.height)
    large = _cut(image.premultiply().resize(scale)).unpremultiply().cast("uchar").copy_memory()
    small = large.premultiply().resize(0.5).unpremultiply().cast("uchar").copy_memory()
    return [
        small.pngsave_buffer(compression=6, filter="all", keep="none"),
        small.webpsave_buffer(Q=80, keep="none", effort=effort),
        large.webpsave_buffer(Q=80, keep="none", effort=effort),
    ]


def _opened(source: str | Path | bytes, **options: Any) -> Any:
    import pyvips

    if isinstance(source, bytes):
        loader = pyvips.Image.pngload_buffer if source[:4] == b"\x89PNG" else pyvips.Image.jpegload_buffer
        return loader(source, access="sequential", **options)
    return pyvips.Image.new_from_file(str(source), access="sequential", **options)


def _cut(image: Any) -> Any:
    return image.crop((image.width - LARGE[0] + 1) // 2, (image.height - LARGE[1] + 1) // 2, *LARGE)


def thumbnails(source: bytes) -> Files:
    """libvips' own thumbnail for each file, as most programs on libvips do."""
    import pyvips

    small, again, large = (
        pyvips.Image.thumbnail_buffer(source, size[0], height=size[1], crop="centre") for size in (SMALL, SMALL, LARGE)
    )
    fallback = small.pngsave_buffer(keep="none") if small.hasalpha() else small.jpegsave_buffer(Q=80, keep="none")
    return [fallback, again.webpsave_buffer(Q=80, keep="none"), large.webpsave_buffer(Q=80, keep="none")]


def plain_pillow(source: bytes) -> Files:
    """Pillow as its manual shows it: open, fit, save; one decode for all files."""
    import io

    from PIL import Image, ImageOps

    image = Image.open(io.BytesIO(source), formats=("JPEG", "PNG"))
    files = []
    fallback = "PNG" if image.mode == "RGBA" else "JPEG"
    for size, form in ((SMALL, fallback), (SMALL, "WEBP"), (LARGE, "WEBP")):
        out = io.BytesIO()
        ImageOps.fit(image, size, Image.Resampling.LANCZOS).save(out, form, quality=80)
        files.append(out.getvalue())
    return files


def engine(name: str, effort: str = "balanced") -> Callable[[bytes], Files]:
    """Return one of our engines as a pipeline."""

    def build(source: bytes) -> Files:
        from easyimg.engines import load_engine
        from easyimg.formats import sniff
        from easyimg.spec import VariantSpec

        wanted = (("fallback", SMALL[0]), ("webp", SMALL[0]), ("webp", LARGE[0]))
        specs = [VariantSpec(form, width, Fraction(16, 9), effort=effort) for form, width in wanted]
        return [file.data for file in load_engine(name).build(source, sniff(source) or "", specs)]

    return build


PIPELINES: Final[dict[str, Callable[[bytes], Files]]] = {
    "chain_manual": chain_manual,
    "chain_manual, WebP effort 2": lambda source: chain_manual(source, effort=2),
    "engine on libvips": engine("vips"),
    'engine on libvips, effort="fast"': engine("vips", "fast"),
    "engine on Pillow": engine("pillow"),
    "thumbnail per file": thumbnails,
    "plain Pillow": plain_pillow,
}


if __name__ == "__main__":
    PIPELINES[sys.argv[1]](Path(sys.argv[2]).read_bytes())
    print(own_peak())
