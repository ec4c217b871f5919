"""The engine beside other ways to the same three files: CPU, wall, memory, bytes, likeness.

    python -m tests.benchmarks.engine [--sources "6 MP" ...] [--runs 15] [--json FILE]

All pipelines get the source as bytes and are taken in turns in one process; each is also run once in a process of its
own for the most memory it takes, Python and libraries included. Likeness is SSIM against all pixels decoded, the exact
box, and Lanczos: fallback, WebP at 448, WebP at 896.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from tests.benchmarks.pipelines import LARGE, PIPELINES, SMALL
from tests.benchmarks.sources import SOURCES
from tests.benchmarks.ssim import over_white, reference, ssim
from tests.benchmarks.timing import Took, interleaved, judged, peak_of

FLOOR, ENGINE, FAST = "chain_manual", "engine on libvips", 'engine on libvips, effort="fast"'
GOALS = {"engine": 1.02, "fast": {"6 MP": 0.66, "12 MP": 0.74, "24 MP": 0.85}, "bytes": 1.05, "24 MP": 60.0}


def measure(label: str, runs: int, names: list[str]) -> list[dict[str, Any]]:
    """Return one source's rows."""
    source = SOURCES[label]()
    wanted = [reference(source, *size) for size in (SMALL, LARGE)]
    made = {name: PIPELINES[name](source) for name in names}  # warm as well
    times = interleaved(runs, **{name: lambda name=name: PIPELINES[name](source) for name in names})
    with tempfile.NamedTemporaryFile() as file:
        file.write(source)
        file.flush()
        peaks = {name: peak_of("tests.benchmarks.pipelines", name, file.name) for name in names}
    return [
        {
            "source": label,
            "source_bytes": len(source),
            "pipeline": name,
            **_costs(times[name], times[FLOOR]),
            "peak_mib": peaks[name],
            "bytes": sum(map(len, made[name])),
            "ssim": [ssim(shown(data), wanted[place > 1]) for place, data in enumerate(made[name])],
            "equal": made[name] == made[FLOOR],
        }
        for name in names
    ]


def _costs(took: Took, floor: Took) -> dict[str, float]:
    return {"cpu_ms": took.cpu * 1e3, "wall_ms": took.wall * 1e3, "ratio": took.ratio(floor)}


def shown(data: bytes) -> Image.Image:
    """Return a file's picture over white."""
    with Image.open(io.BytesIO(data)) as image:
        return over_white(image)


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as Markdown, as the documentation has them."""
    lines = ["| source | pipeline | CPU ms | of floor | wall ms | peak MiB | bytes | SSIM |", "|" + "---|" * 8]
    for row in rows:
        alike = " / ".join(f"{value:.4f}" for value in row["ssim"])
        cells = [f"{row['cpu_ms']:.1f}", f"{row['ratio']:.2f}", f"{row['wall_ms']:.1f}", f"{row['peak_mib']:.0f}"]
        lines.append(f"| {' | '.join([row['source'], row['pipeline'], *cells, format(row['bytes'], ','), alike])} |")
    return "\n".join(lines)


def goals(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line per goal that these rows speak of."""
    found = []
    for label in dict.fromkeys(row["source"] for row in rows):
        of = {row["pipeline"]: row for row in rows if row["source"] == label}
        if ENGINE in of and "PNG" not in label:  # of a PNG, the floor does not look at the rows below the cut
            found.append(judged(f"{label}: engine of floor", of[ENGINE]["ratio"], GOALS["engine"]))
            found.append(f"{'equal ' if of[ENGINE]['equal'] else 'OTHER '} {label}: the engine's files and the floor's")
        if FAST in of and label in GOALS["fast"]:
            found.append(judged(f"{label}: fast of floor", of[FAST]["ratio"], GOALS["fast"][label]))
            more = of[FAST]["bytes"] / of[FLOOR]["bytes"]
            found.append(judged(f"{label}: bytes of fast of floor", more, GOALS["bytes"]))
        if ENGINE in of and label in GOALS:
            found.append(judged(f"{label}: peak memory", of[ENGINE]["peak_mib"], GOALS[label], "MiB"))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and the goals, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=list(PIPELINES))
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    names = list(dict.fromkeys([FLOOR, *options.pipelines]))
    rows: list[dict[str, Any]] = []
    for label in options.sources:
        rows += measure(label, options.runs, names)
        print(f"{label}: measured", file=sys.stderr, flush=True)
    print(table(rows))
    print("\n".join(["", *goals(rows)]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
