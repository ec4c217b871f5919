"""What ``effort`` buys: CPU time, bytes and SSIM of each encoder at "fast", "balanced" and "small".

    python -m tests.benchmarks.effort [--engine pillow] [--runs 7] [--json FILE]

Encoders alone, at quality 80, on pictures in memory: the scenes of ``tests.benchmarks.scenes`` at 896 x 504, in turns.
Times are medians of CPU milliseconds per picture; bytes are also given as part of those of "balanced".
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("VIPS_CONCURRENCY", "1")

from PIL import Image

from easyimg.engines import load_engine
from easyimg.engines._plan import Output
from easyimg.formats import OUTPUT_FORMATS, encoder_quality
from easyimg.geometry import Box, Frame, Size
from easyimg.spec import DEFAULT_QUALITY, EFFORTS
from tests.benchmarks.scenes import KINDS, scene
from tests.benchmarks.ssim import ssim

WIDTH: Final = 896
HEIGHT: Final = 504
FRAME: Final = Frame(Box(0, 0, WIDTH, HEIGHT), Size(WIDTH, HEIGHT))


def encoder(engine: str, picture: Image.Image) -> Callable[[Output], bytes]:
    """Return a function that encodes a picture as an engine does, from its pixels in memory."""
    load_engine(engine)
    if engine == "pillow":
        from easyimg.engines import _pillow_encode

        return lambda output: _pillow_encode.encode(picture.copy(), output)
    import pyvips

    from easyimg.engines import _vips_encode

    held = pyvips.Image.new_from_memory(picture.tobytes(), *picture.size, 3, "uchar").copy(interpretation="srgb")
    return lambda output: _vips_encode.encode(held, output)


def measure(engine: str, runs: int) -> list[dict[str, Any]]:
    """Return a row for each format and effort: means of all scenes."""
    wanted = [
        Output(FRAME, f, 100 if f == "png" else encoder_quality(f, DEFAULT_QUALITY), effort, None)
        for f in OUTPUT_FORMATS
        for effort in EFFORTS
    ]
    found: dict[Output, list[tuple[float, int, float]]] = {output: [] for output in wanted}
    for kind in KINDS:
        picture = scene(kind, WIDTH, HEIGHT)
        encode = encoder(engine, picture)
        took: dict[Output, list[float]] = {output: [] for output in wanted}
        for _ in range(runs):
            for output in wanted:
                start = time.process_time()
                data = encode(output)
                took[output].append(time.process_time() - start)
        for output in wanted:
            data = encode(output)
            alike = ssim(picture, Image.open(io.BytesIO(data)))
            found[output].append((statistics.median(took[output]) * 1e3, len(data), alike))
    return [
        {"format": output.format, "effort": output.effort}
        | dict(zip(("ms", "bytes", "ssim"), map(statistics.fmean, zip(*rows, strict=True)), strict=True))
        for output, rows in found.items()
    ]


def main() -> None:
    """Measure, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", default="vips", choices=("vips", "pillow"))
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = measure(options.engine, options.runs)
    usual = {row["format"]: row["bytes"] for row in rows if row["effort"] == "balanced"}
    print("| format | effort | CPU ms | bytes | of balanced | SSIM |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['format']} | {row['effort']} | {row['ms']:.1f} | {row['bytes']:.0f} "
            f"| {row['bytes'] / usual[row['format']]:.2f} | {row['ssim']:.4f} |"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
