"""Calls taken in turns, so that all of them meet the same machine; and what a process held in memory at most."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Took(NamedTuple):
    """The rounds of one call, in order: seconds of this process's CPU, all threads, and of the clock."""

    cpus: list[float]
    walls: list[float]

    @property
    def cpu(self) -> float:
        """The median, seconds."""
        return statistics.median(self.cpus)

    @property
    def wall(self) -> float:
        """The median, seconds."""
        return statistics.median(self.walls)

    def ratio(self, floor: Took) -> float:
        """Return the median of what each round's CPU time is of the other's in the same round.

        A shared machine's clock changes by half within a minute. That hits both of a round, but not all rounds alike:
        the ratio of the two medians moves by several percent from run to run, this one by one.
        """
        return statistics.median(one / other for one, other in zip(self.cpus, floor.cpus, strict=True))

    def longer(self, other: Took) -> float:
        """Return the median of what each round's wall time is above the other's in the same round, seconds."""
        return statistics.median(one - two for one, two in zip(self.walls, other.walls, strict=True))


def interleaved(
    runs: int, before: Mapping[str, Callable[[], Any]] | None = None, **calls: Callable[[], Any]
) -> dict[str, Took]:
    """Return how long each call took, in that many rounds of all of them.

    Every other round goes backwards: what a call leaves in the processor's caches is then no other call's for good.

    Args:
        runs: rounds.
        before: call -> what is done before it each time, and not counted.
        **calls: what is counted.
    """
    took = {name: Took([], []) for name in calls}
    for turn in range(runs):
        for name, call in list(calls.items())[:: -1 if turn % 2 else 1]:
            if before and name in before:
                before[name]()
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            call()
            took[name].cpus.append(time.process_time() - cpu_start)
            took[name].walls.append(time.perf_counter() - wall_start)
    return took


def own_peak() -> float:
    """Return the most memory this process was resident with since it was started, MiB."""
    return peak_of_process("self")


def peak_of_process(pid: int | str) -> float:
    """Return the most memory a process was resident with since it was started, MiB.

    Not ``ru_maxrss``, which a started process takes over from the one that started it.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def peak_of(module: str, *arguments: str) -> float:
    """Return the MiB that a module prints when it is run in a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def judged(what: str, measured: float, goal: float, unit: str = "x") -> str:
    """Return a line that says whether a goal (at most so much) is met."""
    return f"{'met   ' if measured <= goal else 'MISSED'} {what}: {measured:.3g} {unit}, goal {goal:g}"
