"""How many sources a second one worker builds, two processes of it, and one process with two threads.

    python -m tests.benchmarks.scaling [--builds 150] [--rounds 3] [--json FILE]

Each is a real ``easyimg worker`` on SQLite and a local folder, with three variants of a 6-megapixel photograph a
source. The rate is that between the first and the last tenth of the builds, so that no start is counted; the kinds of
worker take turns. Needs two processors that nothing else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from easyimg import EasyImg
from tests.benchmarks.memory import IMG, order_all
from tests.benchmarks.sources import SIZES, photo
from tests.benchmarks.timing import judged
from tests.queues.sites import Site

WORKERS: Final = {
    "one process": ("--processes", "1", "--threads", "1"),
    "two processes": ("--processes", "2", "--threads", "1"),
    "two threads": ("--processes", "1", "--threads", "2"),
}
GOAL: Final = 1.75


def rate(source: bytes, builds: int, arguments: tuple[str, ...]) -> float:
    """Return the sources a second that a worker with these arguments builds."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "media").mkdir()
        (folder / "media" / "original").write_bytes(source)
        for number in range(builds):
            os.link(folder / "media" / "original", folder / "media" / f"{number}.jpg")
        site = Site(folder, "none")
        order_all(site.app, builds)
        try:
            with site.worker(*arguments, "--log-level", "WARNING"):
                return _between(site.app, builds // 10, builds - builds // 10)
        finally:
            site.app.close()


def _between(app: EasyImg, first: int, last: int) -> float:
    """Return the sources built a second from the moment that ``first`` are built until ``last`` are.

    Raises:
        TimeoutError: nothing was built for half a minute.
    """
    points: list[tuple[float, int]] = []
    moved = time.monotonic()
    while not points or points[-1][1] < last:
        built = app.metadata.counts(stale_after=60).generated // len(IMG.plan.specs)
        now = time.monotonic()
        if built >= first and (not points or built > points[-1][1]):
            points.append((now, built))
            moved = now
        if now - moved > 30:
            raise TimeoutError(f"{built} built, and no more for 30 s")
        time.sleep(0.02)
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


def measure(builds: int, rounds: int) -> dict[str, Any]:
    """Return the rates and what they are of the first's, round by round and their medians."""
    source = photo(*SIZES["6 MP"])
    found: dict[str, list[float]] = {name: [] for name in WORKERS}
    for _ in range(rounds):
        for name, arguments in WORKERS.items():
            found[name].append(rate(source, builds, arguments))
    ratios = {n: [a / b for a, b in zip(of, found["one process"], strict=True)] for n, of in found.items()}
    return {
        "builds": builds,
        "per_second": found,
        "median": {name: statistics.median(of) for name, of in found.items()},
        "ratio": {name: statistics.median(of) for name, of in ratios.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the table and the goal, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--builds", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    found = measure(options.builds, options.rounds)
    print("| worker | sources a second | of one process |\n|---|---|---|")
    for name in WORKERS:
        print(f"| {name} | {found['median'][name]:.1f} | {found['ratio'][name]:.2f} |")
    # a goal of at least so much, turned over
    print("\n" + judged("one process of two", 1 / found["ratio"]["two processes"], round(1 / GOAL, 3)))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
