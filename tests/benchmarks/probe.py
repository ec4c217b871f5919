"""How long the header of a JPEG takes, whatever its size: it must not be decoded.

python -m tests.benchmarks.probe [--runs 200] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from easyimg.engines import load_engine
from easyimg.ports import Engine
from tests.benchmarks.sources import SOURCES
from tests.benchmarks.timing import judged

GOAL: Final = 2.0


def with_segments(source: bytes, size: int) -> bytes:
    """Return a JPEG of about that many bytes, nearly all of them in comments before its picture."""
    segment = b"\xff\xfe\xff\xff" + bytes(65_533)
    return source[:2] + segment * ((size - len(source)) // len(segment)) + source[2:]


def median_ms(engine: Engine, source: bytes, runs: int) -> float:
    """Return the milliseconds of the clock for one header."""
    engine.probe(source, "jpeg")
    took = []
    for _ in range(runs):
        start = time.perf_counter()
        engine.probe(source, "jpeg")
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e3


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and the goals, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    labels = ("6 MP", "6 MP progressive", "24 MP", "24 MP progressive")
    sources = {label: SOURCES[label]() for label in labels}
    sources["6 MP, 19.9 MB of comments"] = with_segments(sources["6 MP"], 19_900_000)
    rows = [
        {"source": label, "bytes": len(data), **{n: median_ms(load_engine(n), data, options.runs) for n in _ENGINES}}
        for label, data in sources.items()
    ]
    print("| source | bytes | libvips ms | Pillow ms |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['source']} | {row['bytes']:,} | {row['vips']:.2f} | {row['pillow']:.2f} |")
    print("\n" + "\n".join(judged(f"{row['source']}, {n}", row[n], GOAL, "ms") for row in rows for n in _ENGINES))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


_ENGINES: Final = ("vips", "pillow")

if __name__ == "__main__":
    main(sys.argv[1:])
