"""Timing: how long something waited that a worker could have taken, by the database's clock.

What is promised is when somebody takes what is due, not when it is built: that depends on what else the machine does.
So two things are timed between looks at all rows, both only while a worker process stands ready:

- ``waits``: how long at a stretch a variant was due (its lease had lapsed, its retry had come, it was new) while at
  least one worker held nothing. A stretch ends when all workers build something else: nobody can be in two places.
- ``idle``: for how long, all in all, something was due and nobody built anything.

Neither knows of the machine's load. A limit on them is what is promised plus ``ALLOWANCE``, the same on every machine.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING

from easyimg.variant import VariantStatus

if TYPE_CHECKING:
    from tests.faults.observer import Row

ALLOWANCE = 5.0
"""Seconds by which something may be later than promised: a worker that is free must still get a processor, the database
and the broker as well."""

TYPICAL = 1.5
"""Seconds beside what is promised that half of all waits must not reach: a fault of ours makes all of them longer, a
busy machine some."""

BLIND = 0.5
"""Of a longer pause between two looks so many seconds count: nobody knows what happened meanwhile."""


@dataclass(frozen=True)
class Wait:
    """How long at a stretch a variant waited beside a free worker, seconds; ``lapsed`` = for its lease had ended."""

    key: str
    seconds: float
    lapsed: bool


@dataclass
class _Due:
    """A variant that is due: the stretch so far and the longest one, seconds."""

    lapsed: bool
    stretch: float = 0.0
    longest: float = 0.0


@dataclass
class Timing:
    """Fed with each look at the rows.

    Args:
        ready: returns how many builds the workers could do at a time now.
    """

    ready: Callable[[], int]
    waits: list[Wait] = field(default_factory=list)
    idle: float = 0.0
    longest_lease: float = 0.0
    """Seconds that the lease of a row still had when it was looked at, at most."""
    longest_claim: float = 0.0
    """Seconds for which a row was held by the same claim: a build, or a lease that nobody gave back."""
    looks: int = 0
    """With a worker that was ready."""
    _due: dict[str, _Due] = field(default_factory=dict)
    _claimed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _was_free: bool = False
    _was_idle: bool = False
    _at: float = 0.0

    def restart(self) -> None:
        """Forget what was timed so far; what waits now begins to."""
        self.waits, self.idle, self.longest_lease, self.looks = [], 0.0, 0.0, 0
        self._due = {}
        self._was_free = self._was_idle = False

    def look(self, rows: Sequence[Row]) -> None:
        """Time what has been since the last look."""
        now = monotonic()
        passed, self._at = min(now - self._at, BLIND), now
        ready = self.ready()
        held = {(row.token, row.source_id) for row in rows if row.status == VariantStatus.BUILDING and not row.is_due}
        is_free, is_idle = ready > len(held), bool(ready) and not held
        due = {row.key: row for row in rows if row.is_due}
        self.looks += bool(ready)
        if self._due and due and is_idle and self._was_idle:
            self.idle += passed
        self._time_waits(due, passed if is_free and self._was_free else 0.0)
        self._was_free, self._was_idle = is_free, is_idle
        self._time_claims(rows, now)

    def worst(self, *, lapsed: bool | None = None) -> float:
        """Return the longest wait, seconds, of what still waits as well."""
        waits = [*self.waits, *(Wait(key, one.longest, one.lapsed) for key, one in list(self._due.items()))]
        return max((wait.seconds for wait in waits if lapsed in (None, wait.lapsed)), default=0.0)

    def typical(self) -> float:
        """Return the median of the waits for lapsed leases, seconds; zero without any."""
        waits = [wait.seconds for wait in self.waits if wait.lapsed]
        return statistics.median(waits) if waits else 0.0

    def _time_waits(self, due: dict[str, Row], passed: float) -> None:
        for key in self._due.keys() - due.keys():
            gone = self._due.pop(key)
            self.waits.append(Wait(key, gone.longest, gone.lapsed))
        for key, row in due.items():
            one = self._due.setdefault(key, _Due(lapsed=row.status == VariantStatus.BUILDING))
            one.stretch = one.stretch + min(passed, row.late or 0.0) if passed else 0.0
            one.longest = max(one.longest, one.stretch)

    def _time_claims(self, rows: Sequence[Row], now: float) -> None:
        claims = {(row.key, row.token) for row in rows if row.status == VariantStatus.BUILDING}
        self._claimed_at = {claim: self._claimed_at.get(claim, now) for claim in claims}
        since = min(self._claimed_at.values(), default=now)
        self.longest_claim = max(self.longest_claim, now - since)
        left = (-(row.late or 0.0) for row in rows if row.status == VariantStatus.BUILDING)
        self.longest_lease = max(self.longest_lease, max(left, default=0.0))
