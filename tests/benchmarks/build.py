"""Build of the default variants against the bare libvips pipeline, interleaved in one run: medians and ratios.

    python -m tests.benchmarks.build [--runs 25] [--json FILE] [--child]

"full" is what a worker does: claim, read from a local directory, hash, header checks, engine, three files written, rows
published in SQLite. "engine" is ``VipsEngine.build`` alone. Both are CPU seconds of this process against
``chain_manual`` on the same file. ``--child`` adds what the limited child costs in wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("VIPS_CONCURRENCY", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")

from easyimg import EasyImg, Img, Source
from easyimg.build import drain
from easyimg.variant import Wanted
from tests.benchmarks.build_floor import SOURCES, chain_manual, photo

IMG = Img(width="md", ratio="video")


def interleaved(runs: int, **calls: Callable[[], Any]) -> dict[str, tuple[float, float]]:
    """Return the median CPU and wall seconds of each call, taken in turns so that all meet the same machine."""
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            call()
            cpu[name].append(time.process_time() - cpu_start)
            wall[name].append(time.perf_counter() - wall_start)
    return {name: (statistics.median(cpu[name]), statistics.median(wall[name])) for name in calls}


def measure(root: Path, label: str, size: tuple[int, int], runs: int, child: bool) -> dict[str, Any]:
    """Return one source's row of the table."""
    path = root / f"{size[0]}.jpg"
    path.write_bytes(photo(*size))
    data, source = path.read_bytes(), Source("default", path.name)
    with EasyImg(
        storages={"default": f"file://{root}"}, metadata=f"sqlite:///{root}/rows.db", queue="none", isolation="never"
    ) as app:
        specs = dict(zip(IMG.plan.keys(source.address), (s.canonical for s in IMG.plan.specs), strict=True))
        app.metadata.enqueue([Wanted(source, specs)])
        assert drain(app).built == 3
        again: dict[str, Callable[[], Any]] = {
            "requeue": lambda: app.metadata.replace(source),  # before each full build; its own time is not counted
            "full": lambda: drain(app, source_id=source.id),
            "floor": lambda: chain_manual(str(path)),
            "engine": lambda: app.engine.build(data, "jpeg", IMG.plan.specs),
            "floor_bytes": lambda: chain_manual(data),
        }
        if child:
            again |= _with_child(root, source)
        times = interleaved(runs, **again)
    floor, engine = times["floor"][0], times["floor_bytes"][0]
    row = {
        "source": label,
        "bytes": len(data),
        "floor_ms": floor * 1e3,
        "full_ms": times["full"][0] * 1e3,
        "full_ratio": times["full"][0] / floor,
        "engine_ratio": times["engine"][0] / engine,
    }
    if child:
        row["child_adds_ms"] = (times["isolated"][1] - times["full"][1]) * 1e3
    return row


def _with_child(root: Path, source: Source) -> dict[str, Callable[[], Any]]:
    """Return the same build in a limited child, on rows of its own."""
    app = EasyImg(
        storages={"default": f"file://{root}"}, metadata=f"sqlite:///{root}/child.db", queue="none", isolation="always"
    )
    specs = dict(zip(IMG.plan.keys(source.address), (s.canonical for s in IMG.plan.specs), strict=True))
    app.metadata.enqueue([Wanted(source, specs)])
    assert drain(app).built == 3
    return {"requeue_child": lambda: app.metadata.replace(source), "isolated": lambda: drain(app, source_id=source.id)}


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    print("source    floor ms   full ms    full/floor   engine/floor   child adds ms")
    for label, size in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder), label, size, options.runs, options.child)
        rows.append(row)
        print(
            f"{label:<8} {row['floor_ms']:9.1f} {row['full_ms']:9.1f} {row['full_ratio']:11.3f}x "
            f"{row['engine_ratio']:12.3f}x {row.get('child_adds_ms', float('nan')):14.1f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
