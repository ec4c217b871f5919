"""Six widths from one photograph: the engine's pixel work beside one thumbnail for each, and the whole build.

    python -m tests.benchmarks.widths [--sources "6 MP" ...] [--runs 9] [--json FILE]

"pixels" is everything but encoding: one decode, the largest width from it, smaller ones from larger ones. "thumbnails"
is ``Image.thumbnail`` for each width. "build" adds six WebP files to either.
"""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

# first, since it tells libvips how many threads to use
from tests.benchmarks.pipelines import SMALL  # isort: skip

import pyvips

from easyimg.engines import load_engine
from easyimg.engines._vips_source import Stored
from easyimg.engines.vips import _pictures
from easyimg.spec import VariantSpec
from tests.benchmarks.sources import SIZES, photo
from tests.benchmarks.timing import interleaved, judged

VIDEO: Final = Fraction(*SMALL)
WIDTHS: Final = (320, 448, 640, 896, 1280, 1792)
GOAL: Final = 0.35
SPECS: Final = tuple(VariantSpec("webp", width, VIDEO) for width in WIDTHS)


def thumbnails(source: bytes) -> list[Any]:
    """Return a picture per width, each from a decode of its own."""
    sizes = [(width, round(width / VIDEO)) for width in WIDTHS]
    return [
        pyvips.Image.thumbnail_buffer(source, width, height=height, crop="centre").copy_memory()
        for width, height in sizes
    ]


def thumbnail_files(source: bytes) -> list[bytes]:
    """Return a WebP file per width from those."""
    return [picture.webpsave_buffer(Q=80, keep="none") for picture in thumbnails(source)]


def measure(label: str, runs: int) -> dict[str, Any]:
    """Return one source's row, in CPU milliseconds."""
    source, engine = photo(*SIZES[label]), load_engine("vips")
    engine.build(source, "jpeg", SPECS)
    took = interleaved(
        runs,
        pixels=lambda: _pictures(Stored(source, "jpeg"), SPECS, None),
        thumbnails=lambda: thumbnails(source),
        build=lambda: engine.build(source, "jpeg", SPECS),
        thumbnail_build=lambda: thumbnail_files(source),
    )
    cpu = {name: one.cpu * 1e3 for name, one in took.items()}
    ratios = {
        "pixels": took["pixels"].ratio(took["thumbnails"]),
        "build": took["build"].ratio(took["thumbnail_build"]),
    }
    return {"source": label, "cpu_ms": cpu, "ratio": ratios}


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as Markdown, as the documentation has them."""
    lines = ["| source | pixels ms | thumbnails ms | ratio | build ms | with thumbnails ms | ratio |", "|" + "---|" * 7]
    for row in rows:
        cpu, ratio = row["cpu_ms"], row["ratio"]
        lines.append(
            f"| {row['source']} | {cpu['pixels']:.1f} | {cpu['thumbnails']:.1f} | {ratio['pixels']:.2f} "
            f"| {cpu['build']:.0f} | {cpu['thumbnail_build']:.0f} | {ratio['build']:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and the goals, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = [measure(label, options.runs) for label in options.sources]
    print(table(rows))
    print("\n".join(["", *(judged(f"{r['source']}: pixels of thumbnails", r["ratio"]["pixels"], GOAL) for r in rows)]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
