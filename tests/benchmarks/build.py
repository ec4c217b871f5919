"""Build of the default variants against the bare libvips pipeline, interleaved in one run: medians and ratios.

    python -m tests.benchmarks.build [--sources "6 MP" ...] [--runs 25] [--json FILE] [--child] [--avif]

"full" is what a worker does: claim, read from a local directory, hash, header checks, engine, three files written, rows
published in SQLite. "engine" is ``VipsEngine.build`` alone. Both are CPU seconds of this process against
``chain_manual`` on the same file. ``--child`` adds what the limited child costs in wall time, ``--avif`` what the full
build with ``formats=["avif", "webp"]`` takes beyond the one of WebP alone, as part of that.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

from easyimg import EasyImg, Img, Source
from easyimg.drain import drain
from easyimg.variant import Wanted
from tests.benchmarks.pipelines import chain_manual
from tests.benchmarks.sources import SIZES, photo
from tests.benchmarks.timing import Took, interleaved, judged

IMG = Img(width="md", ratio="video")


WITH_AVIF = Img(width="md", ratio="video", formats=["avif", "webp"])


def measure(root: Path, label: str, size: tuple[int, int], runs: int, child: bool, avif: bool) -> dict[str, Any]:
    """Return one source's row of the table."""
    path = root / f"{size[0]}.jpg"
    path.write_bytes(photo(*size))
    data, source = path.read_bytes(), Source("default", path.name)
    with _site(root, "rows") as app:
        _order(app, source, IMG)
        times = interleaved(
            runs,
            {"full": lambda: app.metadata.replace(source)},
            full=lambda: drain(app, source_id=source.id),
            floor=lambda: chain_manual(str(path)),
            engine=lambda: app.engine.build(data, "jpeg", IMG.plan.specs),
            floor_bytes=lambda: chain_manual(data),
        )
        added = _added_by_child(root, app, source, runs) if child else None
        by_avif = _added_by_avif(root, app, source, runs) if avif else None
    row = {
        "source": label,
        "bytes": len(data),
        "floor_ms": times["floor"].cpu * 1e3,
        "full_ms": times["full"].cpu * 1e3,
        "full_ratio": times["full"].ratio(times["floor"]),
        "engine_ratio": times["engine"].ratio(times["floor_bytes"]),
    }
    if added is not None:
        row["child_adds_ms"] = added
    if by_avif is not None:
        row["avif_adds_ratio"] = by_avif
    return row


def _site(root: Path, rows: str, isolation: str = "never") -> EasyImg:
    storages = {"default": f"file://{root}"}
    return EasyImg(storages=storages, metadata=f"sqlite:///{root}/{rows}.db", queue="none", isolation=isolation)


def _order(app: EasyImg, source: Source, img: Img) -> None:
    """Build what an Img needs of a source once; from then on a replaced source has all of it built again."""
    specs = dict(zip(img.plan.keys(source.address), (s.canonical for s in img.plan.specs), strict=True))
    app.metadata.enqueue([Wanted(source, specs)])
    assert drain(app).built == len(specs)


def _added_by_child(root: Path, app: EasyImg, source: Source, runs: int) -> float:
    """Return the milliseconds of wall time that the same build takes longer in a limited child."""
    with _site(root, "child", "always") as limited:
        plain, isolated = _beside(app, limited, source, IMG, runs)
    return isolated.longer(plain) * 1e3


def _added_by_avif(root: Path, app: EasyImg, source: Source, runs: int) -> float:
    """Return the CPU time that AVIF beside WebP takes more, as part of what WebP alone takes."""
    with _site(root, "avif") as site:
        plain, both = _beside(app, site, source, WITH_AVIF, runs)
    return both.ratio(plain) - 1


def _beside(app: EasyImg, other: EasyImg, source: Source, img: Img, runs: int) -> tuple[Took, Took]:
    """Return how long the full build takes, and in turns with it that of another Img by a site with rows of its own."""
    _order(other, source, img)
    times = interleaved(
        runs,
        {"full": lambda: app.metadata.replace(source), "other": lambda: other.metadata.replace(source)},
        full=lambda: drain(app, source_id=source.id),
        other=lambda: drain(other, source_id=source.id),
    )
    return times["full"], times["other"]


def goals(row: dict[str, Any]) -> list[str]:
    """Return a line per goal."""
    lines = [
        judged(f"{row['source']}: full build of floor", row["full_ratio"], 1.05),
        judged(f"{row['source']}: engine of floor", row["engine_ratio"], 1.02),
    ]
    if "child_adds_ms" in row:
        lines.append(judged(f"{row['source']}: the limited child adds", row["child_adds_ms"], 10, "ms"))
    if "avif_adds_ratio" in row:
        lines.append(judged(f"{row['source']}: AVIF beside WebP adds", row["avif_adds_ratio"], 1.0))
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--avif", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    print("source    floor ms   full ms    full/floor   engine/floor   child adds ms   avif adds")
    for label in options.sources:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder), label, SIZES[label], options.runs, options.child, options.avif)
        rows.append(row)
        print(
            f"{label:<8} {row['floor_ms']:9.1f} {row['full_ms']:9.1f} {row['full_ratio']:11.3f}x "
            f"{row['engine_ratio']:12.3f}x {row.get('child_adds_ms', float('nan')):14.1f} "
            f"{row.get('avif_adds_ratio', float('nan')):10.2f}x",
            flush=True,
        )
    print("\n".join(["", *(line for row in rows for line in goals(row))]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
