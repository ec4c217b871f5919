"""The most memory that a real worker takes for one large source, and the limited child, if that is what decodes.

    python -m tests.benchmarks.peak [--sources "24 MP" "6 MP progressive"] [--builds 6] [--json FILE]

One ``easyimg worker`` process of one thread on SQLite builds the default three variants of some copies of a source,
once in its own process (``isolation="auto"``, the default of workers) and once in a limited child (``"always"``).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from easyimg import Img, Source
from easyimg.variant import Wanted
from tests.benchmarks.sources import SOURCES
from tests.benchmarks.timing import judged, peak_of_process
from tests.queues.sites import Site, children

GOALS = {"24 MP": 60.0, "6 MP progressive": 110.0}
IMG = Img(width="md", ratio="video")


def measure(label: str, isolation: str, builds: int) -> dict[str, Any]:
    """Return the peaks of one source, MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media").mkdir()
        data = SOURCES[label]()
        site = Site(folder, "none", isolation=isolation)
        for number in range(builds):
            (folder / "media" / f"{number}.jpg").write_bytes(data)
        process, child = _peaks(site, builds)
        site.app.close()
    return {"source": label, "isolation": isolation, "process": process, "child": child}


def _peaks(site: Site, builds: int) -> tuple[float, float]:
    """Return the peaks of a worker process and of its limited child (0 for none) after that many builds."""
    sources = [Source("default", f"{number}.jpg") for number in range(builds)]
    specs = [spec.canonical for spec in IMG.plan.specs]
    site.app.metadata.enqueue([Wanted(s, dict(zip(IMG.plan.keys(s.address), specs, strict=True))) for s in sources])
    with site.worker("--threads", "1", "--log-level", "WARNING") as supervisor:
        deadline = time.monotonic() + 60
        while not children(supervisor.pid) or (counts := site.app.metadata.counts(stale_after=60)).pending:
            assert time.monotonic() < deadline, site.log
            time.sleep(0.1)
        assert counts.generated == builds * len(specs), site.log
        (pid,) = children(supervisor.pid)
        return peak_of_process(pid), max(map(peak_of_process, children(pid)), default=0.0)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and the goals, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(GOALS))
    parser.add_argument("--builds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = [measure(label, isolation, options.builds) for label in options.sources for isolation in ("always", "auto")]
    print(f"{'source':<18} {'decodes in':<14} {'process MiB':>12} {'child MiB':>10}")
    for row in rows:
        place = "limited child" if row["isolation"] == "always" else "the process"
        print(f"{row['source']:<18} {place:<14} {row['process']:12.1f} {row['child']:10.1f}")
    for row in rows:
        if row["source"] in GOALS:
            what = f"{row['source']}, isolation={row['isolation']!r}: largest process"
            print(judged(what, max(row["process"], row["child"]), GOALS[row["source"]], "MiB"))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
