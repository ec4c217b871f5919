"""Clocks that differ, backlogs, and forks after libvips was used: faults 12, 17 and 23."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path

from easyimg.spec import VariantSpec
from easyimg.variant import VariantStatus
from tests.faults.harness import Trial, fault
from tests.faults.site import LEASE

SHIFT = """
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void) { const char *s = getenv("TEST_CLOCK_SHIFT"); return s ? atol(s) : 0; }
int clock_gettime(clockid_t clock, struct timespec *at) {
    int code = syscall(SYS_clock_gettime, clock, at);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) at->tv_sec += shift();
    return code;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@fault(12, "hosts whose clocks differ by an hour", databases=("postgres", "mariadb"))
def clock_skew(trial: Trial) -> None:
    """Workers an hour early and late, beside one that is right; SQLite is left out: its clock is its one host's."""
    library = _shift_library(trial.site.folder)
    trial.site.pace(read=0.2)
    for shift in ("-3600", "3600"):
        trial.site.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK_SHIFT": shift}
        trial.site.start(1)
    trial.site.environment = {}
    trial.site.start(1)
    lines = [line for line in trial.site.log.splitlines() if "started threads=" in line]
    clocks = sorted(datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S") for line in lines)  # noqa: DTZ007
    assert (clocks[-1] - clocks[0]).total_seconds() > 7000, f"the clocks do not differ: {lines}"
    for _ in range(trial.runs):
        trial.order_new(12)
        seconds = trial.until_quiet()
        assert seconds < 12 * 0.3 + 20 * LEASE, f"stuck for {seconds:.0f} s"
    rows = trial.rows()
    assert not any(row.crashes for row in rows), "a lease was stolen"
    written = len(trial.site.folder.joinpath("written").read_text().splitlines())
    assert written == len(rows), f"{written} files were written for {len(rows)} rows"


def _shift_library(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler, which shifts the clock of one process"
    source, library = folder / "shift.c", folder / "shift.so"
    source.write_text(SHIFT)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


TINY = (VariantSpec(width=24, format="webp"), VariantSpec(width=48, format="webp"))


@fault(17, "a backlog of 4,000 rows, pages viewed again and again, a fresh upload", runs=1, brokers=("none", "redis"))
def backlog(trial: Trial) -> None:
    from easyimg.testing.images import photo

    data = photo(96, 72)
    sources = [trial.upload(f"many/{n}.jpg", data) for n in range(2000)]
    for start in range(0, 2000, 200):
        trial.order(*sources[start : start + 200], specs=TINY)
    claims = []
    for _ in range(50):
        started = time.perf_counter()
        (claim,) = trial.site.app.metadata.claim(lease=60, max_attempts=12)
        claims.append(time.perf_counter() - started)
        trial.site.app.metadata.release(claim)
    trial.notes.append(f"claim at 4,000 rows: median {statistics.median(claims) * 1000:.1f} ms")
    trial.site.start(2)
    fresh = trial.upload("fresh.jpg")
    started = time.monotonic()
    trial.order(fresh, specs=TINY)
    owed_then = 0
    while not owed_then:
        rows = trial.rows()
        if all(row.status == VariantStatus.BUILT for row in rows if row.source_id == fresh.id):
            owed_then = sum(row.due_at is not None for row in rows) or 1
        trial.order(*sources[:200], specs=TINY)  # the same page, seen again
        time.sleep(0.05)
    trial.notes.append(f"fresh upload built after {time.monotonic() - started:.1f} s, {owed_then} rows still owed")
    trial.until_quiet(180)
    trial.notes.append(f"drained {time.monotonic() - started:.1f} s after the workers' start")


# The parent has used libvips; its forks must end with a result or a clear error, and none may hang.
FORKS = """
import os, sys
from easyimg import process_queue
from easyimg.errors import ConfigError
from site_app import app
print("parent built", process_queue(app, limit=1), flush=True)
children = []
for _ in range(15):
    pid = os.fork()
    if pid == 0:
        try:
            print("forked: built", process_queue(app), flush=True)
        except ConfigError as exc:
            print("forked: refused:", exc, flush=True)
        os._exit(0)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
print("forked: all ended", codes, flush=True)
app.close()
"""


@fault(23, "forks of a process that has used libvips", runs=3, brokers=("none",))
def forks(trial: Trial) -> None:
    for turn in range(trial.runs):
        trial.order_new(8, ring=False)
        process = trial.site.script(FORKS)
        try:
            code = process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"a fork hangs: {trial.site.log[-500:]}") from None
        assert code == 0, trial.site.log[-500:]
        said = [line for line in trial.site.log.splitlines() if line.startswith("forked: ")]
        trial.notes.append(f"{sum('refused' in line for line in said)} refused, e.g. {said[0]}"[:300])
        assert len(said) == 16 * (turn + 1), said
        if not trial.site.workers:
            trial.site.start(1)
        trial.until_quiet()
    assert {row.status for row in trial.rows()} == {VariantStatus.BUILT}
