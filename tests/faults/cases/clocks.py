"""Hosts whose clocks differ: fault 12."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

from tests.faults.harness import Trial, fault
from tests.faults.site import SWEEP

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


LEASE = 15.0
"""Seconds: so long that no machine is too busy to renew one. An hour of difference would show all the same."""

ONE_HOST = "SQLite's clock is its one host's"


@fault(
    12,
    "hosts whose clocks differ by an hour",
    databases=("postgres", "mariadb"),
    absent=ONE_HOST,
    options={"lease_seconds": LEASE},
)
def clock_skew(trial: Trial) -> None:
    """Workers an hour early and late, beside one that is right."""
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
    for turn in range(trial.runs):
        trial.order_new(12)
        trial.until_building()
        _commands(trial, {"LD_PRELOAD": str(library), "TEST_CLOCK_SHIFT": ("-3600", "3600")[turn % 2]})
        trial.until_quiet()
    timing = trial.observer.timing
    assert timing.longest_lease < LEASE + 0.1, f"a lease had still {timing.longest_lease:.0f} s to go"
    trial.expect_no_idling(SWEEP * trial.runs, "with clocks an hour apart")
    rows = trial.rows()
    assert not any(row.crashes for row in rows), "a lease was stolen"
    written = len(trial.site.folder.joinpath("written").read_text().splitlines())
    assert written == len(rows), f"{written} files were written for {len(rows)} rows"


def _commands(trial: Trial, environment: dict[str, str]) -> None:
    """Run the commands of a host with another clock beside the workers: nothing under way is stale to them."""
    said = trial.site.command("requeue", "--include-stale", "--stale-after", "60", environment=environment)
    assert said.returncode == 0, said
    assert "Requeued 0 variants" in said.stdout, said
    said = trial.site.command("status", "--stale-after", "60", "--fail-on-stale", environment=environment)
    assert said.returncode == 0, said
    said = trial.site.command("build", environment=environment)
    assert said.returncode == 0, said


def _shift_library(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler, which shifts the clock of one process"
    source, library = folder / "shift.c", folder / "shift.so"
    source.write_text(SHIFT)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library
