"""Lanes: one process per database, each with servers of its own, side by side."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import processes
from tests.faults.harness import CASE_SECONDS, FAULTS, Result
from tests.faults.report import read_json

SILENT = CASE_SECONDS + 120.0
"""Seconds without a word after which a lane has died."""


@dataclass(frozen=True)
class Plan:
    """What is to be done on one database: pairs of a fault's number and a broker."""

    database: str
    pairs: tuple[tuple[int, str], ...]
    runs: int | None
    seed: int

    def runs_of(self, number: int) -> int:
        return self.runs or FAULTS[number].runs


@dataclass
class Lane:
    """One database's process.

    Args:
        plan: what it does.
        arguments: of the command that does it.
        file: where it writes its results, again after each.
    """

    plan: Plan
    arguments: list[str]
    file: Path
    heard: float = field(default_factory=time.monotonic)
    died: str = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.faults", *self.arguments, "--lane", "--json", str(self.file)]
        # A session of its own: Ctrl-C reaches the parent alone, which then asks each lane to stop.
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    def has_ended(self) -> bool:
        """Return whether it ended; one that has long been silent is killed."""
        if self.process.poll() is None and time.monotonic() - self.heard > SILENT:
            self.died = f"silent for {SILENT:.0f} s and killed"
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def results(self) -> list[Result]:
        """Return its results, with a failed one for everything it did not come to."""
        self._reader.join(5)
        found = read_json(self.file)
        done = {(result.fault, result.broker) for result in found}
        error = f"the lane ended before this was done: {self.died or f'code {self.process.returncode}'}"
        for number, broker in self.plan.pairs:
            if (number, broker) not in done:
                runs = self.plan.runs_of(number)
                title = FAULTS[number].title
                found.append(
                    Result(number, title, self.plan.database, broker, runs, self.plan.seed, lost=runs, error=error)
                )
        return found

    def stop(self) -> None:
        """Ask it to stop, with its workers and servers."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def _pass_on(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.heard = time.monotonic()
            print(f"{self.plan.database:8} {line}", end="", flush=True)


def run_lanes(plans: Sequence[Plan], arguments: Sequence[list[str]], jobs: int) -> list[Result]:
    """Do all plans, so many at a time, and return their results; every process started is ended, whatever happens."""
    processes.adopt_orphans()
    running: list[Lane] = []
    with tempfile.TemporaryDirectory(prefix="easyimg-lanes-") as folder:
        lanes = [Lane(plan, some, Path(folder) / plan.database) for plan, some in zip(plans, arguments, strict=True)]
        waiting, results = list(lanes), list[Result]()
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(waiting.pop(0))
                    running[-1].start()
                for lane in [lane for lane in running if lane.has_ended()]:
                    running.remove(lane)
                    processes.end_all(frozenset(other.process.pid for other in running))
                    results += lane.results()
                time.sleep(0.2)
        finally:
            _end(running)
    return results


def _end(lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.stop()
    for lane in lanes:
        with suppress(subprocess.TimeoutExpired):
            lane.process.wait(60)
    processes.end_all()
