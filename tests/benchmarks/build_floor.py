"""The floor that builds are compared with: the bare libvips pipeline, and sources to run it on.

``chain_manual`` does what must be done and nothing else: no orientation, no profile, no transparency, no check of the
input, no errors of ours. Run it with ``VIPS_CONCURRENCY=1``.

``photo`` draws what costs codecs as much as photographs do: 1/f noise in eight octaves (textures at every scale) on a
brightness gradient, slowly varying colour, 120 hard-edged ellipses and polygons (contours), Gaussian sensor noise of
sigma 5, saved as JPEG, quality 92, 4:2:0. At 12 megapixels that is about 1.8 bits per pixel. The same arguments give
the same pixels.

As a script, times ``VipsEngine.build`` against the floor, interleaved:
``python tests/benchmarks/build_floor.py [runs]``.
"""

from __future__ import annotations

import io
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

SMALL: Final = (448, 252)
LARGE: Final = (896, 504)
SOURCES: Final = {"6 MP": (2725, 2225), "12 MP": (4000, 3000), "24 MP": (6000, 4000)}


def chain_manual(source: str | Path | bytes) -> list[bytes]:
    """Return 448 JPEG, 448 WebP and 896 WebP, 16:9, cut around the centre, of a JPEG in sRGB with no orientation."""
    image = _open(source)
    width, height = image.width, image.height
    shrink = next((s for s in (8, 4, 2) if min(width / LARGE[0], height / LARGE[1]) / s >= 2), 1)
    image = _open(source, shrink=shrink)
    resized = image.resize(max(LARGE[0] / image.width, LARGE[1] / image.height))
    left, top = (resized.width - LARGE[0] + 1) // 2, (resized.height - LARGE[1] + 1) // 2
    large = resized.crop(left, top, *LARGE).copy_memory()
    small = large.resize(0.5).copy_memory()
    return [
        small.jpegsave_buffer(Q=80, keep="none"),
        small.webpsave_buffer(Q=80, keep="none"),
        large.webpsave_buffer(Q=80, keep="none"),
    ]


def _open(source: str | Path | bytes, **options: Any) -> Any:
    import pyvips

    if isinstance(source, bytes):
        return pyvips.Image.jpegload_buffer(source, access="sequential", **options)
    return pyvips.Image.jpegload(str(source), access="sequential", **options)


def photo(width: int, height: int, seed: int = 1, quality: int = 92) -> bytes:
    """Return a JPEG file of a picture that looks to a codec like a photograph."""
    rng = np.random.default_rng(seed)
    light = np.linspace(-40, 40, height, dtype=np.float32)[:, None] + np.zeros((1, width), np.float32)
    for octave in range(8):
        light += _noise(rng, width, height, 4 * 2**octave) * (48 / 1.7**octave)
    light += _shapes(seed, width, height)
    planes = []
    for _ in range(3):
        plane = light + _noise(rng, width, height, 6) * 45
        plane += rng.standard_normal((height, width), dtype=np.float32) * 5
        planes.append(np.clip(plane + 120, 0, 255).astype(np.uint8))
    out = io.BytesIO()
    Image.fromarray(np.dstack(planes)).save(out, "JPEG", quality=quality, subsampling="4:2:0")
    return out.getvalue()


def _noise(rng: np.random.Generator, width: int, height: int, cells: int) -> Any:
    """Return noise of about -1 to 1 with that many cells across, smoothly enlarged."""
    grid = rng.uniform(-1, 1, (max(2, cells * height // width), cells)).astype(np.float32)
    return np.asarray(Image.fromarray(grid, "F").resize((width, height), Image.Resampling.BICUBIC))


def _shapes(seed: int, width: int, height: int) -> Any:
    """Return hard edges: light and dark ellipses and triangles all over the picture."""
    random_ = random.Random(seed)
    layer = Image.new("L", (width, height), 128)
    draw = ImageDraw.Draw(layer)
    for i in range(120):
        x, y = random_.uniform(0, width), random_.uniform(0, height)
        r, tone = random_.uniform(0.005, 0.06) * width, random_.randrange(70, 190)
        if i % 2:
            draw.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=tone)
        else:
            draw.polygon([(x, y - r), (x + r, y + r), (x - r / 2, y + r / 3)], fill=tone)
    return np.asarray(layer, dtype=np.float32) - 128


def compare(data: bytes, runs: int) -> tuple[float, float, bool]:
    """Return the floor's CPU seconds, the engine's (medians of interleaved runs), and whether the files are equal."""
    from fractions import Fraction

    from easyimg.engines import load_engine
    from easyimg.spec import VariantSpec

    engine, ratio = load_engine("vips"), Fraction(16, 9)
    specs = [VariantSpec(f, w, ratio) for f, w in (("fallback", 448), ("webp", 448), ("webp", 896))]
    equal = chain_manual(data) == [e.data for e in engine.build(data, "jpeg", specs)]
    floor, ours = [], []
    for _ in range(runs):
        start = time.process_time()
        chain_manual(data)
        middle = time.process_time()
        engine.build(data, "jpeg", specs)
        floor.append(middle - start)
        ours.append(time.process_time() - middle)
    return statistics.median(floor), statistics.median(ours), equal


def main() -> None:
    """Print one line per source."""
    os.environ.setdefault("VIPS_CONCURRENCY", "1")
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    for name, (width, height) in SOURCES.items():
        data = photo(width, height)
        floor, ours, equal = compare(data, runs)
        print(
            f"{name}: {len(data) / 1e6:.2f} MB, {len(data) * 8 / width / height:.2f} bit/px; "
            f"floor {floor * 1e3:.1f} ms, engine {ours * 1e3:.1f} ms = x{ours / floor:.3f}; files equal: {equal}"
        )


if __name__ == "__main__":
    main()
