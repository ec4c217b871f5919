"""Processes that are killed, stalled or asked to stop at random moments: faults 1, 2, 10 and 19."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import time
from pathlib import Path

from easyimg.build import content_version
from easyimg.clean import clean
from easyimg.errors import MetadataError
from easyimg.queues.builder import FINISH_SECONDS
from easyimg.source import Source
from easyimg.testing.images import photo
from easyimg.variant import VariantStatus
from tests.faults.harness import PATIENCE, Trial, fault
from tests.faults.observer import is_owed
from tests.faults.site import LEASE, SWEEP, TIMED_SWEEP, Worker
from tests.faults.timing import ALLOWANCE, TYPICAL
from tests.queues.sites import kill

ENOUGH = 10
"""Runs of which some must have hit a build; of fewer random moments all may miss."""

TIRED = 2
"""After so many deaths a worker command waits seconds before it starts a process again: another takes its place."""


def _hit(trial: Trial) -> set[str]:
    """Kill a building process, a limited child or a whole worker command.

    Returns the keys of what was being built then, by whomever.
    """
    workers = trial.until(lambda: [worker for worker in trial.site.workers if worker.builders()], "a process to kill")
    worker = trial.random.choice(workers)
    builders, limited = worker.builders(), worker.limited()
    chance = trial.random.random()
    held = {row.key for row in trial.rows() if row.status == VariantStatus.BUILDING}
    if limited and chance < 0.4:
        _kill(trial.random.choice(limited))  # its parent lives, and settles the rows: another try, later
    elif chance > 0.8:
        trial.site.replace(worker)
    else:
        _kill(trial.random.choice(builders))
        _tire(trial, worker)
    return held


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        kill(pid)


def _tire(trial: Trial, worker: Worker) -> None:
    worker.hits += 1
    if worker.hits > TIRED:
        trial.site.replace(worker)


@fault(1, "kill -9 of a worker while it builds", runs=20, options={"sweep_seconds": TIMED_SWEEP})
def kill_while_building(trial: Trial) -> None:
    """What a killed process held is taken by another within the lease and one sweep, and built."""
    trial.site.pace(read=0.3, decode=0.1)
    trial.site.start(2)
    busy = 0
    for _ in range(trial.runs):
        trial.order_new(3)
        trial.until_building()
        trial.moment(0.3)
        held = _hit(trial)
        busy += bool(held)
        trial.until(lambda held=held: _is_built(trial, held), "what was held")
    trial.notes.append(f"{busy} of {trial.runs} kills hit while something was built")
    assert busy * 3 >= trial.runs or trial.runs < ENOUGH, f"only {busy} of {trial.runs} kills hit a build"
    _expect_taken(trial)


def _expect_taken(trial: Trial) -> None:
    """Expect that no lease was longer than it may be, and what lapsed was taken within one sweep by who was free."""
    timing, promised = trial.observer.timing, TIMED_SWEEP
    assert timing.looks, "no worker was seen to be ready"
    trial.notes.append(
        f"a lease had {timing.longest_lease:.2f} s left at most (it lasts {LEASE} s); what was due waited for a free "
        f"worker {timing.worst():.2f} s at most, behind a lapsed lease {timing.worst(lapsed=True):.2f} s, half of "
        f"these {timing.typical():.2f} s; promised are {promised} s"
    )
    assert timing.longest_lease < LEASE + 0.1, f"a lease had still {timing.longest_lease:.2f} s to go"
    assert timing.worst() < promised + ALLOWANCE, f"something waited {timing.worst():.1f} s while a worker was free"
    assert timing.typical() < promised + TYPICAL, f"half of what lapsed waited {timing.typical():.2f} s"


def _is_built(trial: Trial, keys: set[str]) -> bool:
    return not keys or {row.status for row in trial.rows() if row.key in keys} == {VariantStatus.BUILT}


@fault(2, "kill -9 between a written file and its row", runs=20)
def kill_before_the_commit(trial: Trial) -> None:
    """Of two pictures one is replaced meanwhile: what was written of its old content stays, until it is cleaned."""
    trial.site.start(2)
    orphans: set[str] = set()
    files, replaced = 0, []
    for _ in range(trial.runs):
        same, other = trial.upload(), trial.upload()
        with trial.site.holding("written"):
            keys = set(trial.order(same, other))
            left = trial.until(lambda keys=keys: _unpublished(trial, keys), "a file without its row")
            trial.moment(0.05)
            left |= _unpublished(trial, keys)
            writers = {pid for key, pid in trial.site.writers.items() if key in keys}
            assert writers, "nobody wrote"
            files += len(left)
            _replace(trial, other)
            replaced.append(other)
            for worker in list(trial.site.workers):
                for pid in writers & set(worker.builders()):
                    _kill(pid)
                    _tire(trial, worker)
        trial.until_quiet()
        orphans |= {path.name for path in _files(trial)} - _named(trial)
    trial.notes.append(f"{files} files had been written without a row at {trial.runs} kills")
    assert orphans or trial.runs < 4, "no kill left a file of content that was replaced"
    _expect_cleaned(trial, orphans, replaced)


def _replace(trial: Trial, source: Source) -> None:
    """Put other content under a source's name, as a site does."""
    trial.upload(source.name, photo(640, 480, seed=trial.random.randrange(10, 10_000)))
    trial.site.app.metadata.replace(source)
    trial.site.app.queue.ring([source.id])


def _files(trial: Trial) -> list[Path]:
    return list(trial.site.media.glob("img/[!.]*"))


def _named(trial: Trial) -> set[str]:
    return {Path(row.file_name).name for row in trial.rows() if row.status == VariantStatus.BUILT}


def _unpublished(trial: Trial, keys: set[str]) -> set[str]:
    """Return keys with a file under its final name whose row is not BUILT."""
    there = {path.name.partition(".")[0] for path in _files(trial)} & keys
    return there - {row.key for row in trial.rows() if row.status == VariantStatus.BUILT} if there else set()


def _expect_cleaned(trial: Trial, orphans: set[str], replaced: list[Source]) -> None:
    """What is left are files of replaced content alone, and a clean with a small grace time removes just them."""
    ids = {source.id for source in replaced}
    keys = {row.key for row in trial.rows() if row.source_id in ids}
    assert {name.partition(".")[0] for name in orphans} <= keys, "orphans of pictures that were not replaced"
    assert {path.name for path in _files(trial)} == _named(trial) | orphans, "files that nobody knows of"
    untouched = clean(trial.site.app, older_than=3600)
    assert (untouched.orphans, untouched.failed) == (0, 0), f"removed within the grace time: {untouched}"
    removed = 0

    def cleaned() -> bool:
        nonlocal removed
        removed += clean(trial.site.app, older_than=0.5).orphans
        return removed >= len(orphans)

    trial.until(cleaned, f"{len(orphans)} orphans to be cleaned")
    assert removed == len(orphans), f"{removed} files were removed, {len(orphans)} were orphans"
    assert {path.name for path in _files(trial)} == _named(trial), "clean left an orphan, or took a file of a row"
    trial.notes.append(f"{len(orphans)} orphans, all of replaced pictures; clean removed exactly these")


@fault(10, "a worker stalls past its lease and wakes up", runs=20)
def stall(trial: Trial) -> None:
    """Others take over what it held; every third time one of its pictures is replaced meanwhile."""
    trial.site.pace(read=0.3, written=0.05)
    trial.site.start(2)
    latest: dict[str, str] = {}
    locking = 0
    for turn in range(trial.runs):
        pids = trial.until(lambda: [pid for worker in trial.site.workers for pid in worker.builders()], "a process")
        pid = trial.random.choice(pids)
        sources = trial.order_new(3)
        trial.until_building()
        trial.moment(0.3)
        os.kill(pid, signal.SIGSTOP)  # chosen before: on a busy machine, looking for it outlasts a build
        try:
            if turn % 3 == 2:
                latest[sources[0].id] = _replace_beside(trial, sources[0], pid)
            locking += not _taken_over(trial)
        finally:
            _wake(pid)
        trial.until_quiet()
        trial.moment(0.3)
    if trial.runs >= ENOUGH:
        trial.until(lambda: _woke(trial) * 4 >= trial.runs, "stalls that hit a build")
    trial.notes.append(f"{_woke(trial)} of {trial.runs} woke up with a build that had been taken over")
    trial.notes.append(f"{locking} stalled inside a transaction, whose locks others waited for until it woke up")
    assert locking * 5 <= max(5, trial.runs), f"{locking} of {trial.runs} builds were not taken over in time"
    longest = trial.observer.timing.longest_lease
    assert longest < LEASE + 0.1, f"a lease had still {longest:.2f} s to go"
    rows = [row for row in trial.rows() if row.source_id in latest]
    old = [row for row in rows if row.file_name.split(".")[1] != latest[row.source_id]]
    assert not old, f"{len(old)} rows name replaced content: {old[:2]}"


def _wake(pid: int) -> None:
    """Let a stopped process go on; one that was stopped beyond its builds' time limit ends itself then."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _replace_beside(trial: Trial, source: Source, pid: int) -> str:
    """Replace a picture and return its version; where the stopped process locks its row, after that went on."""
    try:
        _replace(trial, source)
    except MetadataError:
        _wake(pid)
        trial.site.app.metadata.replace(source)
    return content_version((trial.site.media / source.name).read_bytes(), None)


def _taken_over(trial: Trial) -> bool:
    """Wait until others have built what a stalled process held.

    False = something that was due waited much longer than a sweep, though a worker was free: for the locks of the
    stalled one.
    """
    trial.observer.restart_timing()
    end = time.monotonic() + PATIENCE
    while trial.observer.timing.worst() < SWEEP + ALLOWANCE and time.monotonic() < end:
        with contextlib.suppress(Exception):  # SQLite's file may be locked
            if not is_owed(trial.site.app):
                return True
        time.sleep(0.02)
    return False


def _woke(trial: Trial) -> int:
    return trial.site.log.count("taken over or replaced")


@fault(19, "rolling restarts by SIGTERM under load", runs=20, options={"lease_seconds": 20.0})
def rolling_restarts(trial: Trial) -> None:
    """With a lease of 20 s, and no claim held for that long, nothing can have waited for a lease's end.

    How long pictures wait is another matter: on a busy machine, workers are restarted faster than they build.
    """
    trial.site.pace(read=0.15)
    trial.site.start(2)
    stops: list[float] = []
    for _ in range(trial.runs):
        trial.order_new(3)
        trial.moment(1.0)
        # One that has started its processes; before that, Python itself ends at SIGTERM.
        ready = trial.until(lambda: [worker for worker in trial.site.workers if worker.builders()], "a worker")
        old = trial.random.choice(ready)
        place = trial.site.workers.index(old)
        old.terminate()
        trial.order_new(2)
        if trial.random.random() < 0.5:  # the new one beside the old one, or after it
            trial.site.workers[place] = Worker(trial.site.folder)
        asked = time.monotonic()
        code = old.process.wait(PATIENCE)
        stops.append(time.monotonic() - asked)
        assert code == 0, f"a worker that was asked to stop ended with code {code}"
        if trial.site.workers[place] is old:
            trial.site.workers[place] = Worker(trial.site.folder)
    trial.until_quiet()
    longest, usual = trial.observer.timing.longest_claim, statistics.median(stops)
    trial.notes.append(f"no claim lasted longer than {longest:.1f} s")
    trial.notes.append(f"a worker stopped within {usual:.1f} s (half of them), {max(stops):.1f} s (all)")
    assert longest < 15, f"something waited for its lease: {longest:.1f} s"
    assert usual < FINISH_SECONDS, f"half of the workers took {usual:.1f} s to stop"
    crashed = [row for row in trial.rows() if row.crashes]
    assert not crashed, f"{len(crashed)} rows were not given back: {crashed[:2]}"
