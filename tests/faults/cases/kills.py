"""Processes that are killed, stalled or asked to stop at random moments: faults 1, 2, 10 and 19."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from easyimg.variant import VariantStatus
from tests.faults.harness import Trial, fault
from tests.faults.site import Worker
from tests.queues.sites import kill

TIRED = 2
"""After so many deaths a worker command waits seconds before it starts a process again: another takes its place."""


def _victims(trial: Trial) -> list[tuple[Worker, int]]:
    return [(worker, pid) for worker in trial.site.workers for pid in (*worker.builders(), *worker.limited())]


def _hit(trial: Trial) -> bool:
    """Kill one building process or limited child; return whether something was being built."""
    worker, pid = trial.random.choice(trial.until(lambda: _victims(trial), "a process to kill"))
    busy = any(row.status == VariantStatus.BUILDING for row in trial.rows())
    with contextlib.suppress(ProcessLookupError):
        kill(pid)
    _tire(trial, worker)
    return busy


@fault(1, "kill -9 of a worker while it builds", runs=20)
def kill_while_building(trial: Trial) -> None:
    trial.site.pace(read=0.2, decode=0.05)
    trial.site.start(2)
    busy = 0
    for _ in range(trial.runs):
        trial.order_new(3)
        trial.until_building()
        trial.moment(0.35)
        busy += _hit(trial)
    trial.notes.append(f"{busy} of {trial.runs} kills hit while something was built")


@fault(2, "kill -9 between a written file and its row", runs=20)
def kill_before_the_commit(trial: Trial) -> None:
    trial.site.pace(written=0.15)
    trial.site.start(3)
    files = 0
    for _ in range(trial.runs):
        keys = set(trial.order(trial.upload(), trial.upload()))
        trial.until(lambda keys=keys: _written(trial, keys), "a file without its row")
        trial.moment(0.05)
        writers = {pid for key, pid in trial.site.writers.items() if key in keys}
        files += len(_written(trial, keys))
        for worker in list(trial.site.workers):
            for pid in writers & set(worker.builders()):
                kill(pid)
                _tire(trial, worker)
    trial.until_quiet()
    trial.notes.append(f"{files} files had been written without a row at {trial.runs} kills")
    names = {row.file_name for row in trial.rows()}
    orphans = [path for path in trial.site.media.glob("img/[!.]*") if f"img/{path.name}" not in names]
    assert not orphans, f"{len(orphans)} files that no row names are left: {orphans[:3]}"


def _tire(trial: Trial, worker: Worker) -> None:
    worker.hits += 1
    if worker.hits > TIRED:
        trial.site.replace(worker)


def _written(trial: Trial, keys: set[str]) -> set[str]:
    """Return keys with a file under its final name whose row is not BUILT."""
    there = {path.name.partition(".")[0] for path in trial.site.media.glob("img/[!.]*")} & keys
    return there - {row.key for row in trial.rows() if row.status == VariantStatus.BUILT} if there else set()


@fault(10, "a worker stalls past its lease and wakes up", runs=20)
def stall(trial: Trial) -> None:
    trial.site.pace(read=0.3, written=0.05)
    trial.site.start(2)
    for _ in range(trial.runs):
        trial.order_new(3)
        trial.until_building()
        trial.moment(0.3)
        pids = [pid for worker in trial.site.workers for pid in worker.builders()]
        pid = trial.random.choice(pids)
        os.kill(pid, signal.SIGSTOP)
        try:
            trial.until_quiet()  # the others take over what it held
        finally:
            os.kill(pid, signal.SIGCONT)
        trial.moment(0.3)
    time.sleep(0.5)
    taken = trial.site.log.count("taken over or replaced")
    trial.notes.append(f"{taken} of {trial.runs} woke up with a build that had been taken over")


@fault(19, "rolling restarts by SIGTERM under load", runs=20, options={"lease_seconds": 20.0})
def rolling_restarts(trial: Trial) -> None:
    """With a lease of 20 s and quiet soon after the last restart, nothing can have waited for a lease's end."""
    trial.site.pace(read=0.15)
    trial.site.start(2)
    for _ in range(trial.runs):
        trial.order_new(3)
        trial.moment(0.5)
        # One that has started its processes; before that, Python itself ends at SIGTERM.
        ready = trial.until(lambda: [worker for worker in trial.site.workers if worker.builders()], "a worker")
        old = trial.random.choice(ready)
        old.terminate()
        trial.site.workers[trial.site.workers.index(old)] = Worker(trial.site.folder)
        trial.order_new(2)
        code = old.process.wait(15)
        assert code == 0, f"a worker that was asked to stop ended with code {code}"
    seconds = trial.until_quiet(18)
    assert seconds < 15, f"something waited for its lease: quiet after {seconds:.1f} s"
    crashed = [row for row in trial.rows() if row.crashes]
    assert not crashed, f"{len(crashed)} rows were not given back: {crashed[:2]}"
