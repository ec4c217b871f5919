"""Pace: how fast variants are built, from one look at the counts to the next."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from easyimg.variant import Counts

WINDOW: Final = 60.0
"""Seconds of looks that the time to the end is estimated from: sources differ, and one look says little."""


class Look(NamedTuple):
    """Counts, and when they were asked for (``time.monotonic``)."""

    counts: Counts
    at: float


class Pace:
    """Remembers the last looks."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def look(self, counts: Counts, at: float) -> dict[str, Any] | None:
        """Return what changed since the last look; None at the first.

        Args:
            counts: of now.
            at: now, ``time.monotonic``.

        Returns:
            ``seconds`` since the last look; ``built_per_second`` in them; ``is_exact``, or whether that is what the
            backlog shrank by, because built variants of large tables are not counted at every look: new orders count
            against it, and it is 0 while more is ordered than built; ``done_in_seconds``, an estimate from the last
            minute, None while the backlog does not shrink.
        """
        now = Look(counts, at)
        before = self._looks[-1] if self._looks else None
        self._looks.append(now)
        while at - self._looks[0].at > WINDOW and len(self._looks) > 2:
            self._looks.popleft()
        if before is None:
            return None
        seconds = max(at - before.at, 1e-6)
        is_exact = not before.counts.counted_at and not counts.counted_at
        built = counts.generated - before.counts.generated if is_exact else _settled(before, now)
        return {
            "seconds": round(seconds, 3),
            "built_per_second": round(max(0, built) / seconds, 3),
            "is_exact": is_exact,
            "done_in_seconds": self._done_in(),
        }

    def _done_in(self) -> float | None:
        first, last = self._looks[0], self._looks[-1]
        if not last.counts.pending:
            return 0.0
        shrunk = first.counts.pending - last.counts.pending
        return round(last.counts.pending * (last.at - first.at) / shrunk, 1) if shrunk > 0 else None


def _settled(before: Look, now: Look) -> int:
    """Return how many variants left the backlog without having failed; exact counts at any size."""
    return (before.counts.pending - now.counts.pending) - (_failed(now.counts) - _failed(before.counts))


def _failed(counts: Counts) -> int:
    return counts.source_errors + counts.build_errors
