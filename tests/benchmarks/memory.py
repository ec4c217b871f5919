"""The memory of what builds, over thousands of builds: it must stay flat.

    python -m tests.benchmarks.memory [--builds 5000] [--cases worker-1 worker-2 thread] [--json FILE]

``worker-N`` is a real ``easyimg worker`` with one process of N threads; ``thread`` is a process with the thread queue,
which orders everything itself, as pages do. Every source is another file for easyimg, three variants each, in the end
one picture of 640x480 pixels or, one time in fifty, of 12 megapixels. The resident memory of the building process and,
apart from it, of its limited child is read twice a second. The slope is that of a straight line through the samples
after the first fifth: until then the allocators and SQLite's page cache fill.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from easyimg import EasyImg, Img, Source
from easyimg.testing.images import photo
from easyimg.variant import Wanted
from tests.queues.sites import Site, children

CASES = ("worker-1", "worker-2", "thread")
IMG = Img(width=300)

PAGES = """
import sys, time
from easyimg import Img, ImageBatch
from site_app import app

builds = int(sys.argv[1])
for first in range(0, builds, 50):
    img = Img(width=300, batch=ImageBatch(app))
    for bound in [img(f"{number}.jpg", alt="") for number in range(first, min(first + 50, builds))]:
        bound.as_html()
    while app.metadata.counts(stale_after=60).pending > 300:
        time.sleep(0.2)
sys.stdin.read()
"""


class Sample(NamedTuple):
    """One look: sources built so far, and MiB resident in the building process and in its limited child."""

    built: int
    process: float
    child: float


def resident(pid: int) -> float:
    """Return what a process holds in memory, MiB; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


def make_sources(folder: Path, builds: int) -> None:
    """Fill the folder with that many names of nine files."""
    folder.mkdir(parents=True)
    pictures = [photo(640, 480, seed=seed) for seed in range(8)] + [photo(4000, 3000, seed=8)]
    originals = [folder / f"original{place}" for place in range(len(pictures))]
    for original, data in zip(originals, pictures, strict=True):
        original.write_bytes(data)
    for number in range(builds):
        os.link(originals[-1] if number % 50 == 25 else originals[number % 8], folder / f"{number}.jpg")


def order_all(app: EasyImg, builds: int) -> None:
    """Queue the variants of all sources."""
    for first in range(0, builds, 1000):
        sources = [Source("default", f"{number}.jpg") for number in range(first, min(first + 1000, builds))]
        app.metadata.enqueue([Wanted(source, wanted(source)) for source in sources])


def wanted(source: Source) -> dict[str, str]:
    """Return key -> spec of what a page would ask."""
    return dict(zip(IMG.plan.keys(source.address), (spec.canonical for spec in IMG.plan.specs), strict=True))


@contextlib.contextmanager
def running(site: Site, case: str, builds: int) -> Iterator[int]:
    """Run the process that builds, and lend its id."""
    if case == "thread":
        process = site.start("-c", PAGES, str(builds), stdin=subprocess.PIPE)
        try:
            yield process.pid
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)
        return
    order_all(site.app, builds)
    with site.worker("--processes", "1", "--threads", case.rpartition("-")[2], "--log-level", "WARNING") as supervisor:
        while not (found := children(supervisor.pid)):
            time.sleep(0.05)
        yield found[0]


def watch(app: EasyImg, pid: int, builds: int, every: float = 0.5) -> list[Sample]:
    """Sample until all sources are built.

    Raises:
        RuntimeError: the process ended before that, or nothing was built for a minute.
    """
    samples: list[Sample] = []
    moved = time.monotonic()
    while not samples or samples[-1].built < builds:
        built = app.metadata.counts(stale_after=60).generated // len(IMG.plan.specs)
        sample = Sample(built, resident(pid), sum(map(resident, children(pid))))
        if not sample.process or time.monotonic() - moved > 60:
            raise RuntimeError(f"stopped after {built} of {builds} builds: {sample}")
        if not samples or built > samples[-1].built:
            moved = time.monotonic()
        samples.append(sample)
        time.sleep(every)
    return samples


def slope(points: list[tuple[float, float]]) -> float:
    """Return how much the straight line through the points rises per 1,000."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope * 1000


def summary(samples: list[Sample], builds: int) -> dict[str, dict[str, float]]:
    """Return for process and child: medians of the first and last quarter of the builds, the highest, the slope."""
    found = {}
    for what in ("process", "child"):
        points = [(float(s.built), float(getattr(s, what))) for s in samples if s.built > builds / 100]
        settled = [(at, mib) for at, mib in points if at > builds / 5]
        found[what] = {
            "first_quarter_mib": statistics.median(mib for at, mib in points if at <= builds / 4),
            "last_quarter_mib": statistics.median(mib for at, mib in points if at > builds * 3 / 4),
            "highest_mib": max(mib for _, mib in points),
            "mib_per_1000_builds": slope(settled),
        }
    return found


def measure(case: str, builds: int) -> dict[str, Any]:
    """Run one case and return its figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sources(folder / "media", builds)
        site = Site(folder, "thread" if case == "thread" else "none")
        site.app = site.make("none")
        started = time.monotonic()
        with running(site, case, builds) as pid:
            samples = watch(site.app, pid, builds)
        seconds = time.monotonic() - started
        site.app.close()
        return {"case": case, "builds": builds, "builds_per_second": builds / seconds, **summary(samples, builds)}


def show(found: dict[str, Any]) -> None:
    """Print one case."""
    print(f"{found['case']}: {found['builds']:,} builds, {found['builds_per_second']:.1f} a second")
    for what in ("process", "child"):
        f = found[what]
        if f["highest_mib"]:
            print(
                f"  {what:<8} first quarter {f['first_quarter_mib']:6.1f} MiB, last {f['last_quarter_mib']:6.1f} MiB,"
                f" highest {f['highest_mib']:6.1f} MiB, slope {f['mib_per_1000_builds']:+.2f} MiB per 1,000 builds"
            )
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> None:
    """Run the cases, print their figures, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--builds", type=int, default=5000)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    results = []
    for case in options.cases:
        results.append(measure(case, options.builds))
        show(results[-1])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
